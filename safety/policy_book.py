"""The policies of one installation, and who may ask for which."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from safety.policy import BUILT_IN, Policy
from safety.policy_floor import laxer_places
from schemas.errors import BadSettings, Unsupported

#: Stands in the tenants' mapping for every tenant that is not named.
EVERYBODY = "*"
_TENANTS: TypeAdapter[dict[str, str | tuple[str, ...]]] = TypeAdapter(dict[str, str | tuple[str, ...]])


class PolicyBook:
    """Policies by name and by digest; never changed once made, so a change of policies is a restart.

    A policy whose file has changed or gone is withdrawn: images that were planned under it end unpublished, with a
    typed reason, since no worker knows their digest any more.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        default: str,
        tenants: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._by_name = {policy.name: policy for policy in policies}
        self._by_digest = {policy.digest: policy for policy in policies}
        self.default, self._tenants = self._by_name[default], dict(tenants or {})

    @property
    def all(self) -> tuple[Policy, ...]:
        return tuple(self._by_name.values())

    @property
    def needed(self) -> tuple[Policy, ...]:
        """Those without which this installation cannot do what its operator said: all but unused built-in ones."""
        used = {self.default.name, *(name for names in self._tenants.values() for name in names)}
        built_in = {policy.name for policy in BUILT_IN}
        return tuple(policy for policy in self.all if policy.name in used or policy.name not in built_in)

    def of_digest(self, digest: str) -> Policy | None:
        """None for a policy that is not, or no longer, installed."""
        return self._by_digest.get(digest)

    def named(self, name: str) -> Policy:
        """Unsupported for a name that is not installed."""
        if name not in self._by_name:
            raise Unsupported(f"there is no policy {name!r} here", field="policy", limit=list(self._by_name))
        return self._by_name[name]

    def allowed(self, tenant: str) -> tuple[str, ...]:
        """The names that a tenant may ask for; the first is taken when it asks for none."""
        tied = self._tenants.get(tenant) or self._tenants.get(EVERYBODY)
        others = (name for name in self._by_name if name != self.default.name)
        return tied or (self.default.name, *others)

    def askers(self, name: str) -> tuple[str, ...]:
        """The tenants that may ask for a policy, "everybody else" for those that the mapping does not name."""
        tied = (tenant for tenant, names in self._tenants.items() if name in names and tenant != EVERYBODY)
        others = ("everybody else",) if self._tenants else ("everybody",)
        return (*tied, *(others if name in self.allowed(EVERYBODY) else ()))

    def choose(self, tenant: str, name: str | None) -> Policy:
        """The policy of one request; Unsupported for one that its tenant may not ask for, installed or not."""
        allowed = self.allowed(tenant)
        if name is not None and name not in allowed:
            raise Unsupported(f"there is no policy {name!r} here", field="policy", limit=list(allowed))
        return self._by_name[name or allowed[0]]


def open_book(
    custom: Sequence[Policy],
    *,
    default: str,
    floor: str,
    tenants: Mapping[str, tuple[str, ...]] | None = None,
) -> PolicyBook:
    """The built-in policies and the operator's, none laxer than the floor; BadSettings says which is, and where."""
    known = {policy.name: policy for policy in (*BUILT_IN, *custom)}
    named: dict[str, tuple[str, ...]] = {"AQUATINT_POLICY": (default,), "AQUATINT_POLICY_FLOOR": (floor,)}
    named["AQUATINT_TENANT_POLICIES"] = tuple(name for names in (tenants or {}).values() for name in names)
    for field, names in named.items():
        for name in names:
            if name not in known:
                raise BadSettings(f"there is no policy {name!r}", field=field, limit=sorted(known))
    laxer = {policy.name: laxer_places(policy, known[floor]) for policy in known.values()}
    used = {default, *named["AQUATINT_TENANT_POLICIES"], *(policy.name for policy in custom)}
    for name in sorted(used):
        if laxer[name]:
            raise BadSettings(
                f"policy {name!r} is laxer than the floor {floor!r} at {_shortly(laxer[name])}",
                field="AQUATINT_POLICY_FLOOR",
                limit=floor,
            )
    # A built-in policy below the floor that nobody named is simply not offered.
    offered = [policy for policy in known.values() if not laxer[policy.name]]
    return PolicyBook(offered, default=default, tenants=tenants)


def _shortly(places: Sequence[str], most: int = 6) -> str:
    more = f" and {len(places) - most} more places" if len(places) > most else ""
    return ", ".join(places[:most]) + more


def read_tenants(path: Path) -> dict[str, tuple[str, ...]]:
    """Tenant to the policies it may ask for, the first being its own: a TOML or JSON table; BadSettings otherwise."""
    read = json.loads if path.suffix == ".json" else tomllib.loads
    try:
        found = _TENANTS.validate_python(read(path.read_text("utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BadSettings(f"{path.name}: {said}", field="AQUATINT_TENANT_POLICIES") from error
    tied = {tenant: (names,) if isinstance(names, str) else names for tenant, names in found.items()}
    empty = [tenant for tenant, names in tied.items() if not names]
    if empty:
        raise BadSettings(f"tenant {empty[0]!r} has no policy", field="AQUATINT_TENANT_POLICIES")
    return tied
