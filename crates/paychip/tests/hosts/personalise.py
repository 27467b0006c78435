"""A blank payment chip is personalised by a host that is not ours: SCP03 of yubikit, S8 at level 33.

Usage: personalise.py pcsc PART-OF-A-READER-NAME    through pcscd
       personalise.py vpcd                          without: waits for the card as vpcd does, and prints its port
"""

import socket
import struct
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError, SmartCardConnection, SmartCardProtocol
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, StaticKeys

AID = bytes.fromhex("F0 50 41 59 43 48 49 50 01")
BIRTH_KEY_VERSION = 0xFF
CLOUD_KEY_VERSION = 0x30
# A key of its own for each purpose, so that none can stand in for another.
CLOUD_KEYS = StaticKeys(bytes([0xE1] * 16), bytes([0xAC] * 16), bytes([0xDE] * 16))
CHIP_ID = b"host-0000-000001"
BLANK, READY = 0x01, 0x03


class PcscConnection(SmartCardConnection):
    """The card in a reader."""

    def __init__(self, part):
        from smartcard.CardConnection import CardConnection
        from smartcard.System import readers

        reader = next(reader for reader in readers() if part in reader.name)
        self._connection = reader.createConnection()
        self._connection.connect(CardConnection.T1_protocol)

    @property
    def transport(self):
        return TRANSPORT.USB

    def send_and_receive(self, apdu):
        data, sw1, sw2 = self._connection.transmit(list(apdu))
        return bytes(data), sw1 << 8 | sw2

    def power_cycle(self):
        from smartcard.scard import SCARD_UNPOWER_CARD

        self._connection.reconnect(disposition=SCARD_UNPOWER_CARD)

    def close(self):
        self._connection.disconnect()


class VpcdConnection(SmartCardConnection):
    """The card at the other end of a socket, with nothing between."""

    OFF, ON, RESET, ATR = b"\x00", b"\x01", b"\x02", b"\x04"

    def __init__(self):
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(30)
        print(server.getsockname()[1], flush=True)
        self._socket = server.accept()[0]
        self._socket.settimeout(30)
        server.close()
        self._send(self.ON)
        self._send(self.ATR)
        check_atr(self._receive())

    @property
    def transport(self):
        return TRANSPORT.USB

    def _send(self, frame):
        self._socket.sendall(struct.pack(">H", len(frame)) + frame)

    def _exactly(self, length):
        found = b""
        while len(found) < length:
            part = self._socket.recv(length - len(found))
            assert part, "the card has gone away"
            found += part
        return found

    def _receive(self):
        return self._exactly(struct.unpack(">H", self._exactly(2))[0])

    def send_and_receive(self, apdu):
        self._send(apdu)
        answer = self._receive()
        return answer[:-2], struct.unpack(">H", answer[-2:])[0]

    def power_cycle(self):
        self._send(self.OFF)
        self._send(self.ON)

    def close(self):
        self._socket.close()


def check_atr(atr):
    """ISO/IEC 7816-3: T=1 alone, historical bytes as announced, the check byte right."""
    assert atr[0] == 0x3B and atr[1] >> 4 == 8 and atr[2] & 0x0F == 1 and atr[3] & 0x0F == 1
    assert len(atr) == 6 + (atr[1] & 0x0F) + 1
    check = 0
    for byte in atr[1:]:
        check ^= byte
    assert check == 0, atr.hex()


def encrypted(key, mode, data):
    encryptor = Cipher(algorithms.AES(key), mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def put_key_data(dek, version, keys):
    data = bytes([version])
    check_values = bytes([version])
    for key in keys:
        check = encrypted(key, modes.ECB(), b"\x01" * 16)[:3]
        data += bytes([0x88, len(key) + 1, len(key)]) + encrypted(dek, modes.CBC(bytes(16)), key) + b"\x03" + check
        check_values += check
    return data, check_values


def refused(protocol, status, *command):
    try:
        protocol.send_apdu(*command)
    except ApduError as error:
        assert error.sw == status, f"{error.sw:04X} instead of {status:04X}"
        return
    raise AssertionError(f"obeyed, instead of {status:04X}")


def lifecycle(protocol):
    return protocol.send_apdu(0x00, 0xCA, 0x9F, 0x70)[-1]


def main(connection):
    birth = StaticKeys.default()
    protocol = SmartCardProtocol(connection)
    protocol.select(AID)
    assert lifecycle(protocol) == BLANK, "the chip is not blank"
    refused(protocol, 0x6982, 0x80, 0xE2, 0x80, 0x00, bytes.fromhex("E0 12 C0 10") + CHIP_ID)

    protocol.init_scp(Scp03KeyParams(KeyRef(0, BIRTH_KEY_VERSION), birth))
    assert protocol.send_apdu(0x80, 0xCA, 0xDF, 0x23) == bytes.fromhex("DF 23 00")
    # Power off ends the channel, whatever the host believes.
    connection.power_cycle()
    refused(protocol, 0x6982, 0x80, 0xCA, 0xDF, 0x23)

    protocol.select(AID)
    protocol.init_scp(Scp03KeyParams(KeyRef(0, BIRTH_KEY_VERSION), birth))
    data, check_values = put_key_data(birth.key_dek, CLOUD_KEY_VERSION, CLOUD_KEYS)
    assert protocol.send_apdu(0x80, 0xD8, 0x00, 0x81, data) == check_values
    protocol.send_apdu(0x80, 0xE2, 0x80, 0x00, bytes.fromhex("E0 12 C0 10") + CHIP_ID)

    protocol.select(AID)
    assert lifecycle(protocol) == READY
    assert protocol.send_apdu(0x00, 0xCA, 0xDF, 0x20) == bytes.fromhex("DF 20 10") + CHIP_ID
    refused(protocol, 0x6A88, 0x80, 0x50, BIRTH_KEY_VERSION, 0x00, bytes(8))
    protocol.init_scp(Scp03KeyParams(KeyRef(0, CLOUD_KEY_VERSION), CLOUD_KEYS))
    assert protocol.send_apdu(0x80, 0xCA, 0xDF, 0x23) == bytes.fromhex("DF 23 00")
    refused(protocol, 0x6985, 0x80, 0xE2, 0x80, 0x00, bytes.fromhex("E0 12 C0 10") + CHIP_ID)
    connection.close()
    print("personalised")


if sys.argv[1] == "pcsc":
    main(PcscConnection(sys.argv[2]))
else:
    main(VpcdConnection())
