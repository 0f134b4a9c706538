"""Harm done and undone, alike for every backend: journal, ledger, then links and members are moved to what it says."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from chaoskit.clusters.harm import Ledger, WantedLink, WantedMember, links_of, members_of
from chaoskit.clusters.journal import Journal
from chaoskit.clusters.member import Member
from chaoskit.clusters.toxics import toxic_on_both_streams
from chaoskit.clusters.toxiproxy import ProxyState
from chaoskit.contracts import Harm, Say, Toxic
from chaoskit.errors import BedLost, HealFailed, InfrastructureError
from chaoskit.topology import Link, Links


class AppliesStates(Protocol):
    """What brings proxies into states: a Toxiproxy of our own, or somebody's."""

    def apply(self, wanted: Mapping[str, ProxyState]) -> None: ...


class Keeper:
    """Thread-safe. Every link has a proxy of its name in `proxies`; `note` hears of members that died by themselves."""

    def __init__(
        self,
        run_id: str,
        *,
        links: Links,
        members: Mapping[str, Member],
        proxies: AppliesStates,
        journal: Journal,
        note: Say,
    ) -> None:
        self._run_id = run_id
        self._links = links
        self._members = members
        self._proxies = proxies
        self._journal = journal
        self._note = note
        self._ledger = Ledger()
        self._ledger_lock = threading.Lock()
        self._links_lock = threading.Lock()  # from reading the ledger to the end of the change that follows from it

    def inflict(self, holder: str, harm: Harm) -> None:
        """When this raises, what was done so far is still the holder's, and `release` undoes it."""
        self._check(harm)
        with self._ledger_lock:
            self._journal.inflicting(holder, harm)
            self._ledger.add(holder, harm)
        self._settle(links_of(harm), members_of(harm))

    def release(self, holder: str) -> None:
        with self._ledger_lock:
            harms = self._ledger.drop(holder)
        if not harms:
            return
        links = frozenset[Link]().union(*map(links_of, harms))
        members = {member for harm in harms for member in members_of(harm)}
        self._heal_to_wanted(links, members)
        self._journal.released(holder)

    def heal(self) -> None:
        with self._ledger_lock:
            released = self._ledger.holders()
            for holder in released:
                self._ledger.drop(holder)
        self._heal_to_wanted(self._links, tuple(self._members))
        for holder in released:
            self._journal.released(holder)

    # ── moving the cluster to what the ledger says ──

    def _check(self, harm: Harm) -> None:
        """Before anything is written or done: whether this harm can be done here at all."""
        strangers = [str(link) for link in links_of(harm) - self._links]
        strangers += [member for member in members_of(harm) if member not in self._members]
        if strangers:
            raise InfrastructureError(
                f"this cluster of {', '.join(self._members)} has no {', '.join(sorted(strangers))}"
            )
        if isinstance(harm, Toxic):
            toxic_on_both_streams("check", harm.type, dict(harm.attributes))

    def _settle(self, links: Collection[Link], members: Collection[str]) -> None:
        if links:
            with self._links_lock:
                self._proxies.apply({str(link): _proxy_state(self._wanted_link(link)) for link in sorted(links)})
        if members:
            with ThreadPoolExecutor(len(members)) as pool:  # together: a stop by SIGTERM may take seconds
                list(pool.map(self._settle_member, members))

    def _heal_to_wanted(self, links: Collection[Link], members: Collection[str]) -> None:
        try:
            self._settle(links, members)
        except BedLost:
            raise
        except (InfrastructureError, OSError) as error:
            raise HealFailed(
                f"run {self._run_id} could not be healed: {error}; "
                f"end this run, then `chaoskit clean` removes what is left of it"
            ) from error

    def _settle_member(self, member: str) -> None:
        told = self._members[member].settle(lambda: self._wanted_member(member))
        if told:
            self._note(told)

    def _wanted_member(self, member: str) -> WantedMember:
        with self._ledger_lock:
            return self._ledger.member(member)

    def _wanted_link(self, link: Link) -> WantedLink:
        with self._ledger_lock:
            return self._ledger.link(link)


def _proxy_state(wanted: WantedLink) -> ProxyState:
    toxics = [
        toxic_on_both_streams(named.name, named.toxic.type, dict(named.toxic.attributes)) for named in wanted.toxics
    ]
    if wanted.blackholed:
        toxics.append(toxic_on_both_streams("blackhole", "timeout", {"timeout": 0}))
    return ProxyState(enabled=not wanted.rejected, toxics=frozenset().union(*toxics))
