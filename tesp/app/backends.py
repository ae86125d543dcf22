"""Which backends the settings describe, what each offers, and how containers start there."""

import asyncio
import sys

from tesp.backends import Backend, Capacity, package
from tesp.backends.local import LocalBackend
from tesp.backends.local.detection import choose
from tesp.dispatch.lanes import Lane, Lanes
from tesp.errors import SettingsError
from tesp.runner.plan import Runtime
from tesp.settings import LOCAL, LocalSettings, PulsarSettings, Settings
from tesp.tes.needs import in_bytes
from tesp.tes.offers import Offer, Offers, Route, Size

# Pulsar answers on four threads, and polls need some of them.
_PULSAR_TRANSFERS = 2


def offers_of(settings: Settings) -> Offers:
    """What can be asked for, whatever state the backends are in."""
    offers = [Offer(LOCAL, (_local_size(settings.local),))] if settings.runs_locally else []
    offers += [
        Offer(p.name, _sizes(p), frozenset(p.zones), p.preemptible) for p in settings.pulsars
    ]
    routes = (Route(r.tag, r.value, frozenset(r.pulsars)) for r in settings.routes)
    return Offers(tuple(offers), tuple(routes))


def _local_size(local: LocalSettings) -> Size:
    return Size(local.cpus, in_bytes(local.ram_gb))


def _sizes(pulsar: PulsarSettings) -> tuple[Size, ...]:
    """The managers' sizes, each within what all tasks together may have."""
    cpus, ram = pulsar.limits.cpus, pulsar.limits.ram_gb
    if not pulsar.classes:
        return (Size(cpus, None if ram is None else in_bytes(ram)),)
    return tuple(
        Size(
            c.cpus if cpus is None else min(c.cpus, cpus),
            in_bytes(c.ram_gb if ram is None else min(c.ram_gb, ram)),
        )
        for c in pulsar.classes
    )


async def open_lanes(settings: Settings) -> Lanes:
    """Every backend that the settings name, with its lane."""
    offers = offers_of(settings)
    if not offers.all:
        raise SettingsError("no backend is enabled: set local.enabled = true, or add [[pulsars]]")
    by_name = {offer.name: offer for offer in offers.all}
    lanes = []
    if settings.runs_locally:
        transfers = asyncio.Semaphore(settings.dispatch.transfers)
        lanes.append(Lane(await _local_backend(settings), by_name[LOCAL], transfers))
    for pulsar in settings.pulsars:
        transfers = asyncio.Semaphore(_PULSAR_TRANSFERS)
        backend = pulsar_backend(settings, pulsar)
        lanes.append(Lane(backend, by_name[pulsar.name], transfers, pulsar.give_up_seconds))
    return Lanes(lanes, offers)


async def _local_backend(settings: Settings) -> LocalBackend:
    local = settings.local
    detected = await choose(local, settings.containers)
    work = settings.data_dir / "work"
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    python = local.python or sys.executable
    runner = package.build(settings.data_dir)
    return LocalBackend(
        f"{LOCAL}@{settings.machine_id()}",
        work,
        [python, "-I", "-S", str(runner)],
        _runtime(
            settings,
            detected.kind,
            detected.program,
            docker_host=settings.containers.docker_host,
            image_cache=str(settings.containers.image_cache or "") or None,
        ),
        Capacity(local.slots, local.cpus, in_bytes(local.ram_gb)),
    )


def pulsar_backend(settings: Settings, pulsar: PulsarSettings) -> Backend:
    """One Pulsar, over what it is reached by."""
    runtime = _runtime(
        settings,
        pulsar.runtime,
        pulsar.program or _program(pulsar.runtime),
        docker_host=pulsar.docker_host,
        user=pulsar.user,
        network=pulsar.network,
        image_cache=str(pulsar.image_cache or "") or None,
    )
    if pulsar.amqp_url is None:
        from tesp.backends.pulsar.rest_backend import RestPulsar

        return RestPulsar(pulsar, runtime)
    if pulsar.url is None:
        from tesp.backends.pulsar.amqp_backend import AmqpPulsar

        return AmqpPulsar(pulsar, runtime)
    from tesp.backends.pulsar.hybrid_backend import HybridPulsar

    return HybridPulsar(pulsar, runtime)


def _program(kind: str) -> str:
    return {"sandbox": "bwrap"}.get(kind, kind)


def _runtime(
    settings: Settings,
    kind: str,
    program: str,
    *,
    docker_host: str | None = None,
    user: str | None = None,
    network: str | None = None,
    image_cache: str | None = None,
) -> Runtime:
    containers = settings.containers
    return Runtime(
        kind=kind,
        program=program,
        user=user or containers.user,
        network=network or containers.network,
        environment={"DOCKER_HOST": docker_host} if docker_host else {},
        registries={
            r.host: {"username": r.username, "password": r.password.get_secret_value()}
            for r in containers.registries
        },
        image_cache=image_cache,
        sandbox_paths=[str(p) for p in containers.sandbox_paths],
    )
