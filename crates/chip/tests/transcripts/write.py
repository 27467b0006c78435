"""Writes spec/vectors/security-domains.json, code-log.json and vouch.json, and prints the transcript of
spec/chip-commands.md 7.2.

A second computation, which shares nothing with the crates: the cryptography is pyca/cryptography's, and every answer is
written down from the rules of spec/chip-commands.md, not asked of a chip. The chip's tests then play the files to it.

Usage: python3 write.py FOLDER
"""

import copy
import hashlib
import hmac
import json
import pathlib
import re
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

AID = bytes.fromhex("F05041594348495001")
HOST_CHALLENGE = bytes.fromhex("0011223344556677")
CHIP_ID = b"chip-0000-000001"
TRANSPORT_KEY = bytes(range(0x40, 0x50))
ANCHOR = 1_800_000_000
OK = "9000"


def cbc(key, iv, data, encrypt=True):
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(data) + worker.finalize()


def block(key, data):
    return cbc(key, bytes(16), data)


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def derive(key, constant, context, size):
    """GlobalPlatform Amendment D 4.1.5: SP 800-108 in counter mode; one block is enough for AES-128."""
    label = bytes(11) + bytes([constant])
    return cmac(key, label + b"\0" + (size * 8).to_bytes(2) + b"\1" + context)[:size]


def pad(data):
    return data + b"\x80" + bytes(-(len(data) + 1) % 16)


def tlv(tag, value):
    size = bytes([len(value)]) if len(value) < 0x80 else bytes([0x81, len(value)])
    return bytes.fromhex(tag) + size + value


class Domain:
    """A key set: one key for all three."""

    def __init__(self, version, key):
        self.version, self.key, self.sequence = version, key, 0


class Channel:
    """A session, both ends at once. Of its level: 02 the commands' encryption, 10 the answers' MAC, 20 their encryption."""

    def __init__(self, keys, challenge, level):
        context = HOST_CHALLENGE + challenge
        self.enc, self.mac, self.rmac = (derive(keys.key, constant, context, 16) for constant in (4, 6, 7))
        self.chain = bytes(16)
        self.counter = 0
        self.level = level

    def sign(self, header, data):
        self.chain = cmac(self.mac, self.chain + header + bytes([len(data) + 8]) + data)
        return self.chain[:8]

    def command(self, plain):
        header, data, rest = plain[:4], b"", plain[4:]
        if len(rest) > 1:
            data, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        self.counter += 1
        if data and self.level & 0x02:
            data = cbc(self.enc, block(self.enc, self.counter.to_bytes(16)), pad(data))
        header = bytes([header[0] | 4]) + header[1:]
        return header + bytes([len(data) + 8]) + data + self.sign(header, data) + rest

    def answer(self, data, status):
        if status != OK or not self.level & 0x10:
            return data + bytes.fromhex(status)
        if data and self.level & 0x20:
            data = cbc(self.enc, block(self.enc, b"\x80" + self.counter.to_bytes(15)), pad(data))
        status = bytes.fromhex(status)
        return data + cmac(self.rmac, self.chain + data + status)[:8] + status


class Transcript:
    def __init__(self, about, key_sets):
        self.file = {
            "about": about,
            "chip": "blank",
            "host_challenge": HOST_CHALLENGE.hex().upper(),
            "level": "33",
            "key_sets": [{"version": f"{keys.version:02X}", "key": keys.key.hex().upper()} for keys in key_sets],
            "exchanges": [],
        }
        self.diversification = bytes(10)
        self.channel = None

    def add(self, about, command, answer, **more):
        entry = {"about": about} if about else {}
        entry |= {"command": command.hex().upper(), "answer": answer.hex().upper()}
        entry |= {name: value.hex().upper() for name, value in more.items()}
        self.file["exchanges"].append(entry)

    def plain(self, about, command, status=OK, data=b""):
        """A command in the clear."""
        self.add(about, command, data + bytes.fromhex(status))

    def challenge(self, keys, about=""):
        """INITIALIZE UPDATE; the card challenge is given back."""
        context = HOST_CHALLENGE
        sequence = keys.sequence.to_bytes(3)
        challenge = derive(keys.key, 2, sequence + AID, 8)
        cryptogram = derive(derive(keys.key, 6, context + challenge, 16), 0, context + challenge, 8)
        command = bytes([0x80, 0x50, keys.version, 0, 8]) + HOST_CHALLENGE + b"\0"
        answer = self.diversification + bytes([keys.version, 3, 0x70]) + challenge + cryptogram + sequence
        self.plain(about, command, OK, answer)
        return challenge

    def open(self, keys, about="", level=0x33):
        challenge = self.challenge(keys, about)
        self.channel = Channel(keys, challenge, level)
        cryptogram = derive(self.channel.mac, 1, HOST_CHALLENGE + challenge, 8)
        header = bytes([0x84, 0x82, level, 0])
        self.plain("", header + b"\x10" + cryptogram + self.channel.sign(header, cryptogram))
        keys.sequence += 1

    def secured(self, about, command, status=OK, data=b""):
        """A command through the channel."""
        wrapped = self.channel.command(command)
        answer = self.channel.answer(data, status)
        plain_answer = data + bytes.fromhex(status)
        self.add(about, wrapped, answer, plain_command=command, plain_answer=plain_answer)

    def file_command(self, place):
        """A command given before, counted from the last."""
        return bytes.fromhex(self.file["exchanges"][place]["command"])

    def order(self, about, template, status=OK):
        self.secured(about, bytes([0x80, 0xE2, 0x80, 0, len(template)]) + template, status)

    def get_data(self, about, tag, status=OK, value=b""):
        self.secured(about, bytes.fromhex(f"80CA{tag}00"), status, tlv(tag, value) if status == OK else b"")

    def put_key(self, about, dek, replaces, keys, status=OK):
        check = block(keys.key, b"\1" * 16)[:3]
        value = bytes([0x88, 17, 16]) + block(dek.key, keys.key) + b"\3" + check
        data = bytes([keys.version]) + value * 3
        answer = bytes([keys.version]) + check * 3 if status == OK else b""
        self.secured(about, bytes([0x80, 0xD8, replaces, 0x81, len(data)]) + data + b"\0", status, answer)

    def factory(self, root):
        birth = Domain(0xFF, TRANSPORT_KEY)
        self.open(birth, "The factory: the root's keys, and the chip's name")
        self.put_key("PUT KEY: the root's key set 30", birth, 0, root)
        self.order("STORE DATA: factory data", tlv("E0", tlv("C0", CHIP_ID)))
        self.diversification = CHIP_ID[:10]
        # What counted the sessions under FF is the root's counter.
        root.sequence = birth.sequence

    def text(self):
        """The exchanges as the specification shows them: `>` sent, `<` answered."""
        spaced = lambda text: " ".join(text[i : i + 2] for i in range(0, len(text), 2))
        shown = lambda text: f"{spaced(text[:-4])} {text[-4:]}".strip()
        lines = []
        for it in self.file["exchanges"]:
            if it.get("about"):
                lines += ["", f"# {it['about']}"]
            if it.get("plain_command"):
                lines.append(f"# plain: {spaced(it['plain_command'])}")
            lines += [f"> {spaced(it['command'])}", f"< {it.get('shown') or shown(it['answer'])}"]
            if len(it.get("plain_answer", "")) > 4:
                lines.append(f"# plain: {shown(it['plain_answer'])}")
        return "\n".join(lines).strip()

    def write(self, path):
        path.write_text(json.dumps(self.file, indent=1) + "\n")
        print(path, len(self.file["exchanges"]), "exchanges")


class Token:
    """One token, as the specification of payment codes has it: prefix 71, 20 digits, international suite."""

    def __init__(self, slot):
        self.slot = slot
        self.id = bytes([0xA0 + slot] * 16)
        self.index = 100_000_000 + slot
        self.pay_key = bytes(0x80 ^ slot ^ i for i in range(32))
        self.mask_key = bytes(0x40 ^ slot ^ (3 * i) for i in range(16))
        self.left = 500
        self.codes = []

    def install(self):
        objects = [
            ("C1", bytes([self.slot])),
            ("C2", self.id),
            ("C3", b"71"),
            ("C4", b"\x14"),
            ("C5", b"\1"),
            ("C6", self.index.to_bytes(8)),
            ("C7", self.pay_key),
            ("C8", b"\1"),
            ("C9", self.mask_key),
            ("CA", b"\1"),
            ("CB", b"li***@example.com"),
            ("D0", ANCHOR.to_bytes(8)),
            ("D1", (14 * 86_400).to_bytes(4)),
            ("D2", (500).to_bytes(2)),
        ]
        return tlv("E1", b"".join(tlv(tag, value) for tag, value in objects))

    def status(self):
        """Its part of DF23."""
        objects = tlv("C1", bytes([self.slot])) + tlv("C2", self.id) + tlv("D7", len(self.codes).to_bytes(4))
        if self.codes:
            step, sequence, _ = self.codes[-1]
            objects += tlv("D8", step.to_bytes(4) + bytes([sequence]))
        return tlv("E5", objects + tlv("D2", self.left.to_bytes(2)) + tlv("D0", ANCHOR.to_bytes(8)))

    def log(self):
        """Its log: the newest code first, 32 at most."""
        entries = b"".join(
            step.to_bytes(4) + bytes([sequence | (0x80 if verified else 0)])
            for step, sequence, verified in self.codes[:-33:-1]
        )
        return len(self.codes).to_bytes(4) + entries

    def mask(self, body):
        tweak = b"71" + bytes([20])
        half = 9
        key = block(self.mask_key, bytes.fromhex("01020100000A0A") + bytes([half]) + (18).to_bytes(4) + (3).to_bytes(4))
        a, b = int(body[:half]), int(body[half:])
        for i in range(10):
            q = tweak + bytes(15 - 3 - 4) + bytes([i]) + b.to_bytes(4)
            y = int.from_bytes(block(self.mask_key, bytes(x ^ z for x, z in zip(q, key)))[:8])
            a, b = b, (a + y) % 10**half
        return f"{a:09}{b:09}"

    def code(self, unix_seconds, verified):
        """The next code: the command, and its answer."""
        step = unix_seconds // 30
        before = self.codes[-1] if self.codes else (0, 0, False)
        sequence = before[1] + 1 if before[0] == step else 0
        self.codes.append((step, sequence, verified))
        self.left -= 1
        message = b"\1" + self.index.to_bytes(8) + step.to_bytes(4) + bytes([sequence, verified])
        password = int.from_bytes(hmac.new(self.pay_key, message, hashlib.sha256).digest()[:8]) % 10**8
        digits = "71" + self.mask(f"{self.index:010}{password:08}")
        answer = tlv("D9", digits.encode()) + tlv("D8", step.to_bytes(4) + bytes([sequence]))
        answer += tlv("DB", self.left.to_bytes(2)) + tlv("DC", bytes([verified]))
        answer += tlv("DD", (30 * (step + 3)).to_bytes(8))
        return bytes([0x80, 0x40, 1, self.slot, 8]) + unix_seconds.to_bytes(8) + b"\0", tlv("E6", answer)


def sync(slot):
    objects = tlv("D0", ANCHOR.to_bytes(8)) + tlv("D1", (14 * 86_400).to_bytes(4)) + tlv("D2", (500).to_bytes(2))
    return tlv("E2", tlv("C1", bytes([slot])) + objects)


def rules(slot):
    return tlv("EA", tlv("C1", bytes([slot])) + tlv("80", b"\0") + tlv("81", (3_600).to_bytes(4)))


def remove(slot):
    return tlv("E3", tlv("C1", bytes([slot])))


def state(byte):
    return tlv("E4", tlv("D3", bytes([byte])))


def key_information(*versions):
    return b"".join(tlv("C0", bytes([number, version, 0x88, 16])) for version in versions for number in (1, 2, 3))


def security_domains():
    root = Domain(0x30, b"\xc1" * 16)
    first, second = Domain(0x60, b"\xd1" * 16), Domain(0x61, b"\xd2" * 16)
    other, again = Domain(0x68, b"\xd3" * 16), Domain(0x62, b"\xd4" * 16)
    last = Domain(0x63, b"\xd6" * 16)
    new_root = Domain(0x31, b"\xc2" * 16)
    key_sets = [Domain(0xFF, TRANSPORT_KEY), root, first, second, again, last]
    t = Transcript(
        "Security domains: a slot with a key set of its own, and what its domain and the root may and may not do "
        "(chip-commands.md 3.8, 3.9). Exchanges in order, from a blank chip on. Where plain_command is there, command "
        "and answer went through the channel opened last, at the level given; each INITIALIZE UPDATE has the host "
        "challenge given. Each key set has one key for all three. All bytes in hexadecimal.",
        key_sets,
    )
    t.factory(root)
    one, three = Token(1), Token(3)

    t.open(root, "The root's channel")
    t.order("install token, in slot 3, which stays the root's", three.install())
    t.put_key("no domain where a token is", root, 0, Domain(0x70, b"\xd5" * 16), "6985")
    t.put_key("a new domain replaces nothing", root, 0x60, first, "6A88")
    t.put_key("slot 1 becomes a domain: key set 60", root, 0, first)
    t.put_key("the root puts no second key set into it", root, 0, second, "6982")
    t.put_key("nor replaces the first", root, 0x60, second, "6982")
    t.order("the root installs nothing there", one.install(), "6982")

    t.plain("Everybody may know which key sets there are", bytes.fromhex("80CA00E000"), OK,
            tlv("E0", key_information(0x30, 0x60)))
    t.open(first, "The channel of slot 1's domain")
    t.order("it installs a token in its slot", one.install())
    t.order("and in no other: free", Token(2).install(), "6982")
    t.order("nor one of the root's", three.install(), "6982")
    t.get_data("it is told of its own token only", "DF23", OK, one.status())
    t.order("sync of its own", sync(1))
    t.order("sync of the root's", sync(3), "6982")
    t.order("rules of its own", rules(1))
    t.order("rules of the root's", rules(3), "6982")
    t.order("remove token of the root's", remove(3), "6982")
    t.get_data("log of the root's", "DF43", "6982")
    t.order("it can't suspend the chip", state(0x0B), "6982")
    t.order("nor terminate it", state(0x7F), "6982")
    t.order("nor touch the passcode", tlv("E9", tlv("82", b"\2")), "6982")
    t.secured("nor make a device key", bytes.fromhex("8046000100"), "6982")
    t.put_key("PUT KEY for the root: refused", first, 0x30, new_root, "6982")
    t.put_key("PUT KEY for another slot: refused", first, 0, other, "6982")
    t.put_key("PUT KEY over a key set it does not have: refused", first, 0x67, second, "6A88")
    t.put_key("PUT KEY for itself: key set 61 in place of 60", first, 0x60, second)
    t.get_data("the open channel goes on with its session keys", "DF23", OK, one.status())
    t.plain("The key set replaced opens nothing", bytes.fromhex("8050600008") + HOST_CHALLENGE + b"\0", "6A88")

    command, answer = one.code(ANCHOR, False)
    t.plain("The token pays like any other", command, OK, answer)

    t.open(root, "The root's channel again")
    t.get_data("it is told of its own tokens only", "DF23", OK, three.status())
    t.get_data("log of slot 1: refused", "DF41", "6982")
    t.order("sync of slot 1: refused", sync(1), "6982")
    t.order("rules of slot 1: refused", rules(1), "6982")
    t.put_key("PUT KEY for slot 1: refused", root, 0x61, first, "6982")
    t.order("it may freeze the chip as a whole", state(0x0B))
    t.order("and let it go on", state(0x07))

    # The domain's counter goes on where the key set before it stood.
    second.sequence = first.sequence
    t.open(second, "The domain's channel, with its new key set; the sequence counter went on")
    t.get_data("its log", "DF41", OK, one.log())
    t.order("it removes its token, and stays a domain", remove(1))
    t.get_data("it has none", "DF23", OK, b"")

    t.open(root, "The root can't take the slot for a token of its own")
    t.order("install token: refused", one.install(), "6982")
    t.order("but may free it: the domain's key set goes", remove(1))
    t.order("nothing is left to remove", remove(1), "6A88")
    t.plain("", bytes.fromhex("8050610008") + HOST_CHALLENGE + b"\0", "6A88")
    t.plain("", bytes.fromhex("80CA00E000"), OK, tlv("E0", key_information(0x30)))
    t.open(root, "INITIALIZE UPDATE ended the channel, whatever its answer")
    t.put_key("a domain again: key set 62", root, 0, again)

    one = Token(1)
    again.sequence = second.sequence
    t.open(again, "The sequence counter stood over the time without keys; those of a token begin anew")
    t.order("install token", one.install())
    t.get_data("status of the token", "DF23", OK, one.status())

    t.open(root, "The root frees a slot with all that is in it")
    t.order("remove token: the token and the domain's key set", remove(1))
    t.order("remove token: its own", remove(3))
    t.plain("No token is left, so the chip is Ready", bytes.fromhex("00CA9F7000"), OK, bytes.fromhex("9F700103"))
    t.put_key("a domain for the third time: key set 63", root, 0, last)

    last.sequence = again.sequence
    for number in range(16):
        t.challenge(last, "Sixteen wrong tries" if number == 0 else "")
        t.plain("", bytes.fromhex("8482330010") + bytes(range(1, 17)), "6982")
    held_back = bytes.fromhex("8050630008") + HOST_CHALLENGE + b"\0"
    t.plain("Now it is held back", held_back, "9305")
    t.open(root, "which is no matter for the root")
    for _ in range(31):
        t.plain("", held_back, "9305")
    t.open(last, "After thirty-two refusals one is obeyed, and a right one ends it")
    t.open(last)
    return t


def code_log():
    root, domain = Domain(0x30, b"\xc1" * 16), Domain(0x68, b"\xd1" * 16)
    t = Transcript(
        "The log of the last codes (chip-commands.md 5, GET DATA DF41 to DF44): who reads it, in which order, and that "
        "32 are told however many were made. Form as in security-domains.json. In plain_answer the log is the "
        "transaction counter of the newest code (4 bytes), then for each code, newest first, step (4 bytes) and "
        "sequence (1 byte, 80 added where verified). All bytes in hexadecimal.",
        [Domain(0xFF, TRANSPORT_KEY), root, domain],
    )
    t.factory(root)
    one, two = Token(1), Token(2)
    passcode = b"1234"

    def log(about=""):
        t.open(root)
        t.get_data(about, "DF41", OK, one.log())

    t.open(root, "Slot 1 is the root's, slot 2 a domain")
    t.put_key("", root, 0, domain)
    t.order("", one.install())
    t.get_data("before the first code", "DF41", OK, one.log())
    t.get_data("of a slot without a token", "DF43", "6A88")
    t.get_data("of the other domain's slot", "DF42", "6982")
    t.plain("In the clear it is not told", bytes.fromhex("00CADF4100"), "6982")
    t.plain("The first passcode", bytes.fromhex("0024018104") + passcode)
    open_session = False
    for number in range(1, 46):
        # Every third code verified, three codes in two steps.
        if (number % 3 == 0) != open_session:
            open_session = not open_session
            command = bytes.fromhex("0020008104") + passcode if open_session else bytes.fromhex("80300000")
            t.plain("", command)
        command, answer = one.code(ANCHOR + 20 * number, open_session)
        t.plain(f"code {number}", command, OK, answer)
        if number in (1, 8, 9, 31, 32, 33, 40, 41, 45):
            log(f"after {number} codes")
        if number == 20:
            t.open(root)
            t.order("installed over itself, the token keeps its log", one.install())
            one.left = 500

    t.open(domain, "The other domain's token has a log of its own")
    t.order("", two.install())
    command, answer = two.code(ANCHOR, False)
    t.plain("", bytes.fromhex("80300000"))
    t.plain("", command, OK, answer)
    t.open(domain)
    t.get_data("", "DF42", OK, two.log())
    t.get_data("and it is not told the root's", "DF41", "6982")

    t.open(root, "The log goes with the token")
    t.order("", remove(1))
    t.get_data("", "DF41", "6A88")
    one = Token(1)
    t.order("installed anew it begins anew", one.install())
    t.get_data("", "DF41", OK, one.log())
    return t


def every_order():
    """A life with what the first transcript leaves out."""
    birth, root = Domain(0xFF, TRANSPORT_KEY), Domain(0x30, b"\xc1" * 16)
    t = Transcript("", [])
    one, two = Token(1), Token(2)
    name = tlv("E0", tlv("C0", CHIP_ID))
    certificate = lambda number, part: tlv("E7", tlv("CC", bytes([number])) + tlv("CD", part))

    def drawn(size, secured):
        # What holds random bytes can't be foretold.
        entry = t.file["exchanges"][-1]
        entry["shown"] = " ".join([".."] * size) + " 9000"
        if secured:
            entry["plain_answer"] = OK

    t.open(birth, "The factory, with a device key. GENERATE KEY, P-256; the answer is DF24, encrypted, and no two are alike")
    t.secured("", bytes.fromhex("8046000100"))
    drawn(80 + 8, True)
    t.order("STORE DATA: certificate, part 1 before part 0, then in order", certificate(1, b"and its end"), "6985")
    t.order("", certificate(0, b"a chain's begin "))
    t.order("", certificate(1, b"and its end"))
    t.order("no name without the root's keys", name, "6985")
    t.put_key("", birth, 0, root)
    t.order("", name)
    t.diversification, root.sequence = CHIP_ID[:10], birth.sequence
    t.plain("Its parts; ATTEST, whose answer ends in a signature", bytes.fromhex("00CADF3000"), OK, tlv("DF30", b"a chain's begin "))
    t.plain("", bytes.fromhex("00CADF3100"), OK, tlv("DF31", b"and its end"))
    t.plain("", bytes.fromhex("00CADF3200"), "6A88")
    state_hash = hashlib.sha256(bytes.fromhex("3000") + bytes(8)).digest()
    said = tlv("CE", b"\1") + tlv("C0", CHIP_ID) + tlv("D4", b"\3") + tlv("DF21", bytes([0, 2, 0])) + tlv("DE", state_hash)
    t.plain("", bytes.fromhex("8042000010") + b"a fresh question" + b"\0", OK, tlv("E8", said + tlv("CF", bytes(64))))
    entry = t.file["exchanges"][-1]
    entry["shown"] = " ".join(re.findall("..", entry["answer"][: -2 * 66])) + " .." * 64 + " 9000"
    t.plain("SELF TEST, key information", bytes.fromhex("804E0000"))
    t.plain("", bytes.fromhex("00CA00E000"), OK, tlv("E0", key_information(0x30)))

    t.open(root, "Two tokens. STORE DATA: install token, rules (slot 1: a passcode, sessions of an hour), sync")
    t.order("no rules without a token", rules(1), "6985")
    t.order("", one.install())
    t.order("", two.install())
    t.order("", tlv("EA", tlv("C1", b"\1") + tlv("80", b"\1") + tlv("81", (3_600).to_bytes(4))))
    t.order("", sync(1))
    t.order("empty slots", sync(4), "6A88")
    t.order("", rules(4), "6A88")
    t.order("a token id that is in another slot; an object that does not belong", moved(one, 3), "6985")
    t.order("", tlv("E3", tlv("C1", b"\1") + tlv("C4", b"\x14")), "6A80")

    ask = lambda token, at: bytes([0x80, 0x40, 1, token.slot, 8]) + at.to_bytes(8) + b"\0"
    t.plain("GET PAYMENT CODE: slot 1 wants a passcode first; slot 2 does not", ask(one, ANCHOR), "9306")
    command, answer = two.code(ANCHOR, False)
    t.plain("", command, OK, answer)
    t.plain("CHOOSE SLOT 2, then a code of the default slot; slot 3 has none to choose", bytes.fromhex("80480002"))
    command, answer = two.code(ANCHOR, False)
    t.plain("", command[:3] + b"\0" + command[4:], OK, answer)
    t.plain("", bytes.fromhex("80480003"), "6A88")
    t.plain("too early, too late", ask(two, ANCHOR - 30), "9301")
    t.plain("", ask(two, ANCHOR + 15 * 86_400), "9302")

    t.plain("CHANGE REFERENCE DATA, the first passcode; VERIFY with the time; a code within the hour and one after it", bytes.fromhex("0024018104") + b"1234")
    t.plain("", bytes.fromhex("0020018110") + b"1234" + b"\xff" * 4 + ANCHOR.to_bytes(8))
    for at in (ANCHOR + 3_600, ANCHOR + 3_601):
        command, answer = one.code(at, at <= ANCHOR + 3_600)
        t.plain("", command, OK, answer)
    t.plain("five wrong ones block it", bytes.fromhex("0020008104") + b"0000", "63C4")
    for status in ("63C3", "63C2", "63C1", "6983"):
        t.plain("", bytes.fromhex("0020008104") + b"0000", status)
    t.plain("", bytes.fromhex("0020008104") + b"1234", "6983")
    t.open(root, "STORE DATA: passcode, all tries again; then no passcode any more")
    t.order("", tlv("E9", tlv("82", b"\1")))
    t.plain("", bytes.fromhex("0020008104") + b"1234")
    t.order("", tlv("E9", tlv("82", b"\2")))
    t.order("", tlv("E9", tlv("82", b"\1")), "6A88")
    t.plain("", bytes.fromhex("0020008104") + b"1234", "6A88")

    t.order("STORE DATA: suspend; no code, no sync, no new token; resume", state(0x0B))
    t.plain("", ask(two, ANCHOR), "6985")
    t.order("", sync(1), "6985")
    t.order("", one.install(), "6985")
    t.order("", state(0x07))
    t.get_data("GET DATA in the channel: both tokens, and the log of slot 1", "DF23", OK, one.status() + two.status())
    t.get_data("", "DF41", OK, one.log())
    t.order("STORE DATA: remove token, one after the other; the chip is Ready", remove(2))
    t.order("", remove(1))
    t.plain("", bytes.fromhex("00CA9F7000"), OK, bytes.fromhex("9F700103"))
    t.order("", remove(1), "6A88")
    t.order("STORE DATA: terminate. The chip says what it was, and obeys nobody", state(0x7F))
    t.plain("", bytes.fromhex("00CA9F7000"), OK, bytes.fromhex("9F70017F"))
    t.plain("", bytes.fromhex("00CADF2000"), OK, tlv("DF20", CHIP_ID))
    t.plain("", bytes.fromhex("00CADF2400"), "6985")
    t.plain("", bytes.fromhex("8050300008") + HOST_CHALLENGE + b"\0", "6985")

    t.plain("What is no command of the applet: instruction, class, logical channel, secure messaging, P1, length, AID", bytes.fromhex("80FF0000"), "6D00")
    t.plain("", bytes.fromhex("90300000"), "6E00")
    t.plain("", bytes.fromhex("81300000"), "6881")
    t.plain("", bytes.fromhex("0CCA9F7000"), "6882")
    t.plain("", bytes.fromhex("80300100"), "6A86")
    t.plain("", bytes.fromhex("80420000"), "6700")
    t.plain("", bytes.fromhex("00A4040005A000000003"), "6A82")
    return t


def notice(outcome, minor, refunded, merchant, at, token, currency=b"CNY", decimals=2):
    """A notice of the payment that the token's newest code was used for."""
    step, sequence, _ = token.codes[-1]
    objects = [
        ("80", bytes([outcome])),
        ("81", minor.to_bytes(8)),
        ("82", refunded.to_bytes(8)),
        ("83", currency),
        ("84", bytes([decimals])),
        ("85", merchant),
        ("86", at.to_bytes(8)),
        ("D8", step.to_bytes(4) + bytes([sequence])),
    ]
    return tlv("EC", b"".join(tlv(tag, value) for tag, value in objects))


def vouch():
    root, domain = Domain(0x30, b"\xc1" * 16), Domain(0x68, b"\xd1" * 16)
    t = Transcript(
        "VOUCH (chip-commands.md 5, relay.md 7): what a chip vouches for, and what it does not. Form as in "
        "security-domains.json, but the level of a channel is P1 of its EXTERNAL AUTHENTICATE: what is not encrypted "
        "stands in the command as the wearable reads it, its MAC of 8 bytes behind it. In notices is what the notices in "
        "these commands say. All bytes in hexadecimal.",
        [Domain(0xFF, TRANSPORT_KEY), root, domain],
    )
    del t.file["level"]
    t.factory(root)
    one, two = Token(1), Token(2)
    say = lambda slot, data, p1=0: bytes([0x80, 0x4A, p1, slot, len(data)]) + data
    t.open(root, "Nothing is vouched for before there is a token", 0x11)
    t.secured("", say(1, b"anything"), "6985")
    t.open(root, "Slot 1 is the root's, slot 2 a domain", 0x33)
    t.put_key("", root, 0, domain)
    t.order("", one.install())
    t.secured("nor what is encrypted, which the wearable could not read", say(1, b"anything"), "6982")
    notices = []

    def told(about, channel_domain, *payments):
        t.open(channel_domain, about, 0x11)
        for token, outcome, minor, refunded, merchant, at, *money in payments:
            data = notice(outcome, minor, refunded, merchant, at, token, *money)
            currency, decimals = money or (b"CNY", 2)
            step, sequence, _ = token.codes[-1]
            notices.append({
                "bytes": data.hex().upper(), "outcome": outcome, "amount_minor": minor, "refunded_minor": refunded,
                "currency": currency.decode(), "decimals": decimals, "merchant": merchant.decode(),
                "unix_seconds": at, "step": step, "sequence": sequence,
            })
            t.secured("", say(token.slot, data))

    def paid(token, at):
        command, answer = token.code(at, False)
        t.plain("", command, OK, answer)

    paid(one, ANCHOR)
    tea = "Tea House".encode()
    told("A payment of 12.50 yuan waits for the wearer; level 11", root, (one, 3, 1_250, 0, tea, ANCHOR + 4))
    told("then it is paid, then part of it given back", root, (one, 1, 1_250, 0, tea, ANCHOR + 9), (one, 1, 1_250, 250, tea, ANCHOR + 9))
    paid(one, ANCHOR + 30)
    told("The next code is declined, and the one after it cancelled", root, (one, 2, 99_900, 0, "\u8336\u9986".encode(), ANCHOR + 31))
    paid(one, ANCHOR + 60)
    longest = ("\u00e9" * 20).encode()
    told("with the longest name, and a currency without decimals", root, (one, 4, 2**64 - 1, 2**64 - 1, longest, ANCHOR + 61, b"JPY", 0))

    t.secured("data of any kind, none as well: the chip does not look at it", say(1, b"\xff"))
    t.secured("", bytes.fromhex("804A0001"))
    t.secured("no such slot, a slot without a token, another P1", say(5, b"anything"), "6A88")
    t.secured("", say(3, b"anything"), "6A88")
    t.secured("", say(1, b"anything", 1), "6A86")
    t.secured("the slot of a domain is not the root's", say(2, b"anything"), "6982")
    t.secured("and the channel stands after all these", say(1, b"anything"))
    t.plain("In the clear it is no word of the cloud's", say(1, b"anything"), "6982")
    altered = bytearray(t.channel.command(say(1, b"anything")))
    altered[5] ^= 1
    t.plain("One bit altered: the channel ends", bytes(altered), "6982")
    t.plain("and what was right before is not", t.file_command(-4), "6982")

    t.open(root, "Level 01 has no MAC on answers: the chip vouches, and the cloud is not told so", 0x01)
    t.secured("", say(1, b"anything"))
    t.open(root, "Level 00 proves nothing but the channel itself", 0x00)
    t.plain("", bytes([0x84]) + t.channel.command(say(1, b"anything"))[1:], "6982")
    for level in (0x03, 0x13):
        t.open(root, f"Level {level:02X} is not readable", level)
        t.secured("", say(1, b"anything"), "6982")

    t.open(domain, "The domain installs a token", 0x33)
    t.order("", two.install())
    paid(two, ANCHOR)
    told("and tells its own wearable", domain, (two, 1, 500, 0, tea, ANCHOR + 1))
    t.secured("of the root's slot it says nothing", say(1, b"anything"), "6982")
    t.open(root, "A suspended chip is told as well", 0x33)
    t.order("", state(0x0B))
    t.open(root, "", 0x11)
    t.secured("", say(1, b"anything"))
    t.file["notices"] = notices
    return t


def moved(token, slot):
    """The order that installs the same token in another slot."""
    token = copy.copy(token)
    token.slot = slot
    return token.install()


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    security_domains().write(folder / "security-domains.json")
    code_log().write(folder / "code-log.json")
    vouch().write(folder / "vouch.json")
    print(every_order().text())
