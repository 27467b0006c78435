//! The reader under arbitrary bytes: it ends, never reads past its slice, and what it read is written back as an
//! object that reads the same. The fuzz target and the bounded test call it.

use tlv::{Reader, Tag, Writer};

/// How deep constructed objects are followed.
const DEPTH: u32 = 8;

/// Reads everything in `data`, and writes back what was read.
pub(crate) fn read_everything(data: &[u8]) {
    walk(data, DEPTH);
    let _ = tlv::only(data);
    let _ = tlv::find(data, Tag::new(0x9F70));
}

fn walk(data: &[u8], depth: u32) {
    let mut reader = Reader::new(data);
    let mut left = data.len();
    while let Some(read) = reader.next() {
        let Ok(element) = read else {
            assert!(reader.next().is_none(), "after a fault nothing comes");
            return;
        };
        assert!(reader.rest().len() < left, "each object takes something");
        left = reader.rest().len();
        let mut buffer = vec![0; element.value.len() + 8];
        let mut writer = Writer::new(&mut buffer);
        writer.put(element.tag, element.value).unwrap();
        let written = writer.finish();
        assert!(written.len() <= data.len(), "ours is the shortest form");
        assert_eq!(tlv::only(written).unwrap(), element);
        if element.tag.is_constructed() && depth > 0 {
            walk(element.value, depth - 1);
        }
    }
}
