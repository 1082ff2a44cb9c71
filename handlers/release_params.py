"""The releaser's numbers in one place, so that a test or a laptop can shorten them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ReleaserParams:
    """Seconds unless said; the defaults were found by simulation and by killing prototypes."""

    #: Pause after a tick that released something, so that one commit serves many outcomes.
    tick: float = 0.01
    #: Added to the round trip when a microbatch is sent ahead of its GPU.
    lead_margin: float = 0.02
    #: One-way latency, from commit to start on an idle GPU, before any was measured.
    first_latency: float = 0.05
    #: Most microbatches on the GPU side of one worker.
    window_most: int = 4
    #: Most images of one microbatch, bounded by the workers' memory.
    images_most: int = 8
    #: The microbatch is large enough when fixed costs are at most this share of it.
    fixed_share: float = 0.10
    #: What one microbatch costs the control plane and the network, whatever it renders.
    message_seconds: float = 0.02
    #: Longest that an interactive image should take, if there is such a target: a microbatch takes a third at most.
    interactive_target: float | None = None
    #: An idle GPU waits for company no longer than this, and than a third of the fixed cost.
    idle_wait_most: float = 0.05
    #: ... and only where the fixed cost is at least this share of rendering one image.
    idle_wait_share: float = 0.5

    #: Bulk's guaranteed share of the charged GPU seconds.
    bulk_reserve: float = 0.10
    #: After this long a charge counts half in that share.
    reserve_half_life: float = 60.0
    #: Weight per tenant; 1 for all others.
    weights: Mapping[str, float] = field(default_factory=dict)

    #: A key is slow when it takes this many times the median of its pool ...
    slow_factor: float = 10.0
    #: ... and then occupies at most this share of the pool's workers.
    slow_share: float = 0.6
    #: Loading another model into a worker.
    switch_seconds: float = 5.0
    #: A worker keeps its model at least this many switches long.
    stay_factor: float = 10.0
    #: A model that no worker has loaded gets one when its oldest image has waited this long.
    starve_seconds: float = 10.0

    #: Three heartbeats of five seconds.
    lease_seconds: float = 15.0
    #: Released, but not listed by any heartbeat: the message is lost.
    unlisted_seconds: float = 30.0
    #: What a lease holds is put back only this much later, when every copy of its message has gone stale.
    grace_seconds: float = 3.0
    #: Deaths with an image on the GPU, on at least two workers, before it fails.
    attempts_most: int = 3
    #: Suspects take at most this share of all places.
    suspect_share: float = 0.5
    #: When more than this share of a pool of at least `mass_pool` died within `mass_window`, no image is to blame.
    mass_share: float = 0.2
    mass_pool: int = 5
    mass_window: float = 60.0

    #: How often leases are looked at and everything in memory is read anew.
    sweep_every: float = 1.0
    #: How often suspects and images that are too late are looked for.
    rare_every: float = 0.2
    #: Longest sleep when nothing happens.
    backstop: float = 1.0
    #: Looking for keys that have become active takes at most this share of the time.
    scan_share: float = 0.1
    #: After the broker refused.
    retry_seconds: float = 0.5
    #: Workers that were last seen this long ago are forgotten.
    forget_seconds: float = 3600.0
