"""A fresh payment chip as pyscard sees it: selected, asked for its state, and not to be had for a code.

Usage: reader.py PART-OF-A-READER-NAME
"""

import sys

from smartcard.CardConnection import CardConnection
from smartcard.System import readers
from smartcard.util import toHexString

SELECT = "00 A4 04 00 09 F0 50 41 59 43 48 49 50 01 00"
LIFECYCLE = "00 CA 9F 70 00"
STATUS = "00 CA DF 22 00"
GET_PAYMENT_CODE = "80 40 01 00 08 00 00 00 00 6B 49 D2 00 00"


def main(part):
    reader = next(reader for reader in readers() if part in reader.name)
    connection = reader.createConnection()
    connection.connect(CardConnection.T1_protocol)
    assert connection.getProtocol() == CardConnection.T1_protocol
    print("ATR", toHexString(connection.getATR()))

    def ask(command, expected_status):
        data, sw1, sw2 = connection.transmit(list(bytes.fromhex(command)))
        status = f"{sw1:02X}{sw2:02X}"
        assert status == expected_status, f"{command} was answered {status}"
        return bytes(data)

    answer = ask(SELECT, "9000")
    assert bytes.fromhex("84 09 F0 50 41 59 43 48 49 50 01") in answer
    assert ask(LIFECYCLE, "9000") == bytes.fromhex("9F 70 01 01"), "the chip is not blank"
    assert ask(STATUS, "9000") == bytes.fromhex("DF 22 09 D4 01 01 D5 01 00 D6 01 05")
    assert ask(GET_PAYMENT_CODE, "6985") == b""
    connection.disconnect()
    print("a fresh chip, and no code from it")


main(sys.argv[1])
