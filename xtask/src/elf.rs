//! How much flash and RAM an image takes, from its section headers (ELF, 32 bits, little-endian).

use std::path::Path;

/// What an image takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Code, constants, and what initialised data starts from.
    pub(crate) flash: u64,
    /// Data, initialised and zeroed; the stack comes on top.
    pub(crate) ram: u64,
}

const HEADER_BYTES: usize = 52;
const SECTION_HEADER_BYTES: usize = 40;
/// Section types: with content, and zeroed at start.
const WITH_CONTENT: u32 = 1;
const ZEROED: u32 = 8;
/// Flags: writable, takes memory.
const WRITABLE: u32 = 1;
const IN_MEMORY: u32 = 2;
/// What the linker script sets aside for stack and heap says nothing about what they need.
const NOT_COUNTED: [&str; 2] = [".stack", ".heap"];

/// Reads the sizes of the image in this file.
pub(crate) fn sizes(path: &Path) -> Result<Sizes, String> {
    let file = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    of(&file).ok_or_else(|| format!("{} is not a 32-bit ELF file", path.display()))
}

fn of(file: &[u8]) -> Option<Sizes> {
    if !file.starts_with(b"\x7FELF\x01\x01") || file.len() < HEADER_BYTES {
        return None;
    }
    let headers = usize::try_from(word(file, 32)?).ok()?;
    let count = usize::from(half(file, 48)?);
    let names = usize::from(half(file, 50)?);
    let header = |number: usize| file.get(headers + number * SECTION_HEADER_BYTES..);
    let names = usize::try_from(word(header(names)?, 16)?).ok()?;
    let mut sizes = Sizes { flash: 0, ram: 0 };
    for number in 0..count {
        let header = header(number)?;
        let (kind, flags, bytes) = (word(header, 4)?, word(header, 8)?, u64::from(word(header, 20)?));
        let name = file.get(names + usize::try_from(word(header, 0)?).ok()?..)?.split(|byte| *byte == 0).next()?;
        if flags & IN_MEMORY == 0 || NOT_COUNTED.iter().any(|other| other.as_bytes() == name) {
            continue;
        }
        if kind == WITH_CONTENT {
            sizes.flash += bytes;
        }
        if flags & WRITABLE != 0 && (kind == WITH_CONTENT || kind == ZEROED) {
            sizes.ram += bytes;
        }
    }
    Some(sizes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of these sections: name, type, flags, size.
    fn elf(sections: &[(&str, u32, u32, u32)]) -> Vec<u8> {
        let mut names = Vec::new();
        let mut headers = Vec::new();
        let mut place = |name: &str| {
            let at = names.len() as u32;
            names.extend(name.bytes().chain([0]));
            at
        };
        let placed: Vec<u32> = sections.iter().map(|section| place(section.0)).collect();
        for (name, (_, kind, flags, bytes)) in placed.into_iter().zip(sections) {
            headers.extend([name, *kind, *flags, 0, 0, *bytes, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
        }
        let names_at = (HEADER_BYTES + headers.len() + SECTION_HEADER_BYTES) as u32;
        headers.extend([0, 3, 0, 0, names_at, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat());
        let mut file = b"\x7FELF\x01\x01".to_vec();
        file.resize(HEADER_BYTES, 0);
        file[32..36].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        file[48..50].copy_from_slice(&(sections.len() as u16 + 1).to_le_bytes());
        file[50..52].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        [file, headers, names].concat()
    }

    #[test]
    fn flash_and_ram_are_told_apart() {
        let file = elf(&[
            (".text", 1, 6, 1_000),
            (".rodata", 1, 2, 100),
            (".data", 1, 3, 10),
            (".bss", 8, 3, 7),
            (".stack", 8, 3, 5_000),
            (".debug_info", 1, 0, 9_999),
        ]);
        assert_eq!(of(&file), Some(Sizes { flash: 1_110, ram: 17 }));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(of(b""), None);
        assert_eq!(of(&[0x7F; 100]), None);
        let cut = elf(&[(".text", 1, 6, 1_000)]);
        assert_eq!(of(&cut[..cut.len() - 20]), None);
    }
}
