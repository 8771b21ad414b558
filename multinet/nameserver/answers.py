"""From a DNS message to its answer (RFC 1034, 1035; EDNS 6891; negative answers 2308), out of a zone.

A lab ends at its fabric: names of anybody else don't exist there, which is said at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from multinet.nameserver.zone import TTL_S, Record, Zone

_UDP_LIMIT, _UDP_MAX, TCP_LIMIT = 512, 4096, 65535
_CHAIN = 8


class Answerer:
    """Answers for ``zone``. Of several addresses any may be first: the library shuffles them."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def answer(self, query: bytes, *, over_tcp: bool) -> bytes:
        """The answer to send; empty where none is due."""
        try:
            asked = dns.message.from_wire(query)
        except dns.exception.DNSException:
            return _malformed(query)
        if asked.flags & dns.flags.QR:
            return b""
        made = dns.message.make_response(asked)
        if asked.opcode() != dns.opcode.QUERY:
            made.set_rcode(dns.rcode.NOTIMP)
        elif len(asked.question) != 1:
            made.set_rcode(dns.rcode.FORMERR)
        else:
            self._fill(made, asked.question[0])
        limit = TCP_LIMIT
        if not over_tcp:
            limit = max(_UDP_LIMIT, min(asked.payload if asked.edns >= 0 else 0, _UDP_MAX))
        try:
            return made.to_wire(max_size=limit)
        except dns.exception.TooBig:
            made.answer, made.additional, made.authority = [], [], []
            made.flags |= dns.flags.TC
            return made.to_wire(max_size=limit)

    def _fill(self, made: dns.message.Message, question: dns.rrset.RRset) -> None:
        name, kind = _text(question.name), dns.rdatatype.to_text(question.rdtype)
        if not self._zone.is_own(name) or question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
            made.set_rcode(dns.rcode.NXDOMAIN)
            return
        made.flags |= dns.flags.AA
        found = self._matching(name, kind)
        for record in found:
            # With the letters it was asked in.
            owner = question.name.to_text() if record.name == name else f"{record.name}."
            _add(made.answer, owner, record)
        for target in dict.fromkeys(each.data.rpartition(" ")[2] for each in found if each.kind == "SRV"):
            for record in self._zone.find(target.rstrip(".")):
                if record.kind in ("A", "AAAA"):
                    _add(made.additional, target, record)
        if not found:
            made.authority.append(self._start_of_authority())
            if not self._zone.exists(name) and name != self._zone.domain:
                made.set_rcode(dns.rcode.NXDOMAIN)

    def _matching(self, name: str, kind: str) -> Sequence[Record]:
        """The records of a name, and those that its CNAME leads to."""
        found: list[Record] = []
        for _ in range(_CHAIN):
            held = [each for each in self._zone.find(name) if each.kind]
            right = [each for each in held if kind in (each.kind, "ANY")]
            if right or not held or held[0].kind != "CNAME":
                return [*found, *right]
            found.append(held[0])
            name = held[0].data.rstrip(".").lower()
        return found

    def _start_of_authority(self) -> dns.rrset.RRset:
        domain = self._zone.domain
        data = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {TTL_S}"
        return dns.rrset.from_text(f"{domain}.", TTL_S, "IN", "SOA", data)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _add(part: list[dns.rrset.RRset], owner: str, record: Record) -> None:
    made = dns.rrset.from_text(owner, TTL_S, "IN", record.kind, record.data)
    for held in part:
        if held.match(made.name, made.rdclass, made.rdtype, made.covers):
            held.add(made[0])
            return
    part.append(made)


def _malformed(query: bytes) -> bytes:
    """FORMERR with the query's number, where at least that can be read and it is a query."""
    if len(query) < 12 or query[2] & 0x80:
        return b""
    return query[:2] + bytes([0x80 | query[2] & 0x79, dns.rcode.FORMERR]) + bytes(8)
