-- Schema 1. Ids are 16-byte blobs that begin with their time, so new rows land side by side.
-- Money is in minor units, time in Unix milliseconds.

CREATE TABLE accounts (
    id BLOB PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, wallet_key BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE top_ups (
    account BLOB NOT NULL, reference TEXT NOT NULL, id BLOB NOT NULL, minor INTEGER NOT NULL, currency TEXT NOT NULL,
    created_ms INTEGER NOT NULL, PRIMARY KEY (account, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE merchants (
    id BLOB PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, api_key BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL, wrong_since_ms INTEGER NOT NULL, wrong_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chips (
    id BLOB PRIMARY KEY, key_version INTEGER NOT NULL, registered_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id BLOB PRIMARY KEY, account BLOB NOT NULL, chip BLOB NOT NULL, prefix TEXT NOT NULL, digits INTEGER NOT NULL,
    suite INTEGER NOT NULL, token_index INTEGER NOT NULL, pay_key_version INTEGER NOT NULL,
    mask_key_version INTEGER NOT NULL, state INTEGER NOT NULL, last_step INTEGER, last_sequence INTEGER,
    last_counter INTEGER, misses INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    UNIQUE (prefix, digits, token_index)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_account ON tokens (account, id);
-- One living token a chip: a chip never has two owners (5 is revoked).
CREATE UNIQUE INDEX tokens_by_chip ON tokens (chip) WHERE state <> 5;

CREATE TABLE bindings (
    id BLOB PRIMARY KEY, account BLOB NOT NULL, chip BLOB NOT NULL, nonce BLOB NOT NULL, token BLOB NOT NULL,
    host_challenge BLOB NOT NULL, attempt INTEGER NOT NULL, card_answer BLOB, anchor_s INTEGER NOT NULL,
    offline_allowance_s INTEGER NOT NULL, code_budget INTEGER NOT NULL,
    state INTEGER NOT NULL, created_ms INTEGER NOT NULL, UNIQUE (chip, nonce)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    id BLOB PRIMARY KEY, merchant BLOB NOT NULL, order_number TEXT NOT NULL, fingerprint BLOB, minor INTEGER,
    currency TEXT, state INTEGER NOT NULL, decline INTEGER NOT NULL, account BLOB, token BLOB,
    verified INTEGER NOT NULL, refunded_minor INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    UNIQUE (merchant, order_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_by_merchant ON payments (merchant, id);
CREATE INDEX payments_by_account ON payments (account, id) WHERE account IS NOT NULL;

CREATE TABLE refunds (
    merchant BLOB NOT NULL, number TEXT NOT NULL, id BLOB NOT NULL, payment BLOB NOT NULL, minor INTEGER NOT NULL,
    currency TEXT NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY (merchant, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX refunds_by_payment ON refunds (payment, id);

CREATE TABLE day_use (
    account BLOB NOT NULL, currency TEXT NOT NULL, day INTEGER NOT NULL, total_minor INTEGER NOT NULL,
    unverified_minor INTEGER NOT NULL, PRIMARY KEY (account, currency, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE clearing_items (
    number INTEGER PRIMARY KEY AUTOINCREMENT, merchant BLOB NOT NULL, currency TEXT NOT NULL, minor INTEGER NOT NULL,
    posted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX clearing_items_unposted ON clearing_items (merchant, currency, number) WHERE posted = 0;

-- The journal is only ever added to.
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY, kind INTEGER NOT NULL, reference BLOB NOT NULL, at_ms INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE legs (
    sequence INTEGER NOT NULL, leg INTEGER NOT NULL, account BLOB NOT NULL, side TEXT NOT NULL, minor INTEGER NOT NULL,
    PRIMARY KEY (sequence, leg)
) STRICT, WITHOUT ROWID;
CREATE INDEX legs_by_account ON legs (account, sequence);
CREATE TRIGGER journal_is_final BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;
CREATE TRIGGER journal_is_kept BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;
CREATE TRIGGER legs_are_final BEFORE UPDATE ON legs BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;
CREATE TRIGGER legs_are_kept BEFORE DELETE ON legs BEGIN SELECT RAISE(ABORT, 'the journal is final'); END;

CREATE TABLE balances (account BLOB PRIMARY KEY, minor INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, number);
