"""The facts of a picture as sentences for a person."""

from __future__ import annotations

from collections.abc import Iterator

from safety.provenance.certificates import ORGANISATION
from safety.provenance.reading import IngredientFacts, ManifestFacts, PictureFacts
from schemas.provenance import SOURCE_TYPES

_MADE = {
    "trainedAlgorithmicMedia": "It was made by an AI model.",
    "compositeWithTrainedAlgorithmicMedia": "It was made out of another picture with an AI model.",
    "algorithmicMedia": "It was made by a program.",
}
_PROBLEMS = {
    "assertion.dataHash.mismatch": "the picture is not the one that was signed",
    "assertion.bmffHash.mismatch": "the picture is not the one that was signed",
    "assertion.hashedURI.mismatch": "the statement itself was changed",
    "claimSignature.mismatch": "the signature does not belong to the statement",
    "signingCredential.expired": "the certificate has ended",
    "signingCredential.invalid": "the certificate is not fit for signing pictures",
    "unreadable": "the statement cannot be read",
}
_BROUGHT = {
    "none": "it said nothing about itself",
    "valid": "its own statement was intact",
    "trusted": "its own statement was intact",
    "expired": "the certificate of its own statement had ended",
    "invalid": "its own statement was broken already",
}


def tell(facts: PictureFacts, *, signed_here: bool = False) -> list[str]:
    """Sentences, the most important first; `signed_here` says that the certificate is known to be the reader's own."""
    if facts.media_type is None:
        return ["This is no PNG, JPEG, WebP or AVIF file, so nothing can be read from it."]
    return [
        *_origin(facts),
        *_signature(facts, signed_here),
        *_ingredients(facts.manifest),
        *_words(facts),
        *_more(facts),
    ]


def credentials_in_words(facts: PictureFacts) -> str:
    """One line about marking and signature, for a card or a table."""
    manifest = facts.manifest
    made = "Made by AI" if facts.says_ai else "Not marked as made by AI"
    if manifest.state == "none":
        return f"{made}, not signed"
    if manifest.state == "invalid":
        return f"{made}; signature broken: {_problem(manifest)}"
    if manifest.state == "expired":
        return f"{made}; unchanged, but the certificate has ended and there is no time stamp"
    if manifest.issuer == ORGANISATION and manifest.state == "valid":
        return f"{made}, signed and unchanged (self-signed: no identity)"
    unknown = "" if manifest.state == "trusted" else " (identity not checked)"
    return f"{made}, signed by {manifest.issuer or 'an unnamed signer'} and unchanged{unknown}"


def _origin(facts: PictureFacts) -> Iterator[str]:
    sources = [
        one.removeprefix(SOURCE_TYPES) for one in (*facts.manifest.source_types, facts.xmp_source_type) if one
    ]
    proved = facts.is_intact and bool(facts.manifest.source_types)
    if not sources:
        yield (
            "It does not say whether an AI model made it."
            if facts.says_anything
            else "It says nothing about where it comes from."
        )
        return
    sentence = _MADE.get(sources[0], f'It says that its source is "{sources[0]}".')
    made_with = f" Made with: {facts.manifest.made_with}." if facts.manifest.made_with else ""
    yield (
        sentence
        + ("" if proved else " That is only written in the file: no intact signature covers it.")
        + made_with
    )


def _signature(facts: PictureFacts, signed_here: bool) -> Iterator[str]:
    manifest = facts.manifest
    if manifest.state == "none":
        yield "It is not signed, so nobody can tell whether it was changed."
        if manifest.remote_url:
            yield f"It names a statement that lies elsewhere and was not fetched: {manifest.remote_url}"
    elif manifest.state == "invalid":
        yield f"Its signature is broken: {_problem(manifest)}. Do not believe what it says about itself."
    elif manifest.state == "expired":
        yield f"It was signed by {manifest.issuer or 'an unnamed signer'} and not changed since, but the certificate has ended."
        yield "No time stamp shows that it was signed before that, so the signature counts no more."
    else:
        yield f"It was signed by {manifest.issuer or 'an unnamed signer'}{_moment(manifest)} and not changed since."
        yield (
            "The certificate is that of the installation on this machine."
            if signed_here
            else _identity(manifest)
        )


def _moment(manifest: ManifestFacts) -> str:
    return f" at {manifest.signed_at} (time stamped)" if manifest.signed_at else ""


def _identity(manifest: ManifestFacts) -> str:
    if manifest.state == "trusted":
        return "You trust the certificate: it shows who signed."
    if manifest.issuer == ORGANISATION:
        return "The certificate is self-signed: it proves integrity, not identity. Anybody could have made one with this name."
    return "None of the certificates that you trust vouches for the signer, so the name is a claim. `--trust` names further ones."


def _problem(manifest: ManifestFacts) -> str:
    told = dict.fromkeys(_PROBLEMS.get(code, code) for code in manifest.problems)
    return "; ".join(told)


def _ingredients(manifest: ManifestFacts) -> Iterator[str]:
    if manifest.state in ("valid", "trusted"):
        yield from (_ingredient(one) for one in manifest.ingredients)


def _ingredient(one: IngredientFacts) -> str:
    role = "made from" if one.relationship == "parentOf" else "guided by"
    digest = f" (SHA-256 {one.sha256[:16]}...)" if one.sha256 else ""
    return f'It was {role} a picture called "{one.title}"{digest}; {_BROUGHT[one.state]}.'


def _words(facts: PictureFacts) -> Iterator[str]:
    languages = [lang for lang in facts.alt if lang != "x-default"] or list(facts.alt)
    if not languages:
        yield "It carries no alt text."
    for lang in languages:
        yield f'Alt text ({lang}): "{facts.alt[lang]}"'
    described = [lang for lang in facts.long_description if lang != "x-default"]
    if described:
        yield f"It carries a long description in: {', '.join(described)}."


def _more(facts: PictureFacts) -> Iterator[str]:
    if any(use == "notAllowed" for use in facts.manifest.training.values()):
        yield "Its maker does not allow training AI models with it."
    if facts.watermark is not None:
        yield f"Its pixels carry a watermark ({facts.watermark.name}, {facts.watermark.payload}), or look so by rare chance."
    elif facts.manifest.watermark is not None:
        yield f"It says that its pixels carry a watermark ({facts.manifest.watermark.name}); that was not looked for."
