-- A chip that holds its channel back takes one script an opening instead of two, so the number of the script is kept
-- itself; it followed from that of the channel (state 2: installing).
ALTER TABLE bindings RENAME COLUMN attempt TO script;
UPDATE bindings SET script = script * 2 - 1 + (state = 2);
