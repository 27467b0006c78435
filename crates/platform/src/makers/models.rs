//! Models of chips and of devices: what the operator has looked at and takes.

use paycode::Suite;

use super::{Maker, MakerCode, MakerKind, ModelName, Standing, event};
use crate::{Change, Reason, Refusal, UnixMs};

/// The most applet versions allowed for a chip model.
pub const MAX_APPLETS: usize = 32;

/// The version of a payment applet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppletVersion(pub [u8; 3]);

impl AppletVersion {
    /// Reads `major.minor.patch`.
    ///
    /// # Errors
    /// [`Reason::FieldMalformed`], at `applets`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = Refusal::at(Reason::FieldMalformed, "applets");
        let mut parts = text.split('.').map(|part| {
            let is_plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u8>().ok().filter(|_| is_plain).ok_or(malformed)
        });
        let mut next = || parts.next().unwrap_or(Err(malformed));
        let version = [next()?, next()?, next()?];
        if parts.next().is_some() { Err(malformed) } else { Ok(Self(version)) }
    }
}

impl core::fmt::Display for AppletVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A chip model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipModel {
    /// Who makes it.
    pub maker: MakerCode,
    /// Its name, as it stands in its certificates.
    pub name: ModelName,
    /// The primitives its payment codes can be made with.
    pub suite: Suite,
    /// Flash for keys and tokens, KiB.
    pub flash_kib: u16,
    /// The applet versions that may be bound, lowest first; none where the list is empty.
    pub applets: Vec<AppletVersion>,
    /// Whether it is taken.
    pub standing: Standing,
    /// When this was last changed.
    pub changed_ms: UnixMs,
}

macro_rules! choice {
    ($(#[$doc:meta])* $kind:ident { $($(#[$one_doc:meta])* $name:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $kind {
            $($(#[$one_doc])* $name = $number,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The one with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }

            /// The one with this stored number.
            pub fn from_number(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as u8 == number)
            }
        }
    };
}

choice!(
    /// What a device is. The number is what is stored.
    DeviceKind {
        /// A watch.
        Watch = 1 "watch",
        /// A band.
        Band = 2 "band",
        /// A card.
        Card = 3 "card",
        /// A terminal of the internet of things.
        IotTerminal = 4 "iot_terminal",
    }
);

choice!(
    /// What a device shows codes on. The number is what is stored.
    DeviceScreen {
        /// Nothing: somebody else's screen, or none.
        None = 1 "none",
        /// A round screen.
        Round = 2 "round",
        /// A rectangular screen.
        Rectangular = 3 "rectangular",
    }
);

choice!(
    /// How a device reaches the cloud. The number is what is stored.
    DeviceLink {
        /// Through the phone, over Bluetooth.
        Phone = 1 "phone",
        /// By itself, over a network.
        Network = 2 "network",
        /// Through a reader.
        Reader = 3 "reader",
    }
);

/// A device model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceModel {
    /// Who makes it.
    pub maker: MakerCode,
    /// Its name.
    pub name: ModelName,
    /// What it is.
    pub kind: DeviceKind,
    /// What it shows codes on.
    pub screen: DeviceScreen,
    /// How it reaches the cloud.
    pub link: DeviceLink,
    /// Whether a passcode can be entered on it.
    pub passcode: bool,
    /// Whether it notices that it was taken off.
    pub wear_detection: bool,
    /// Whether it is taken.
    pub standing: Standing,
    /// When this was last changed.
    pub changed_ms: UnixMs,
}

fn subject(maker: &MakerCode, name: &ModelName) -> String {
    format!("model:{maker}/{name}")
}

fn of_kind(maker: Option<&Maker>, kind: MakerKind) -> Result<(), Refusal> {
    maker.ok_or(Refusal::at(Reason::MakerNotFound, "maker"))?.must_make(kind)
}

/// Sets a chip model, new or known. What is as it was already changes nothing.
///
/// # Errors
/// [`Reason::MakerNotFound`], [`Reason::MakerKindForbids`], [`Reason::FieldTooLong`].
pub fn put_chip_model(
    mut model: ChipModel,
    maker: Option<&Maker>,
    before: Option<&ChipModel>,
) -> Result<(ChipModel, Vec<Change>), Refusal> {
    of_kind(maker, MakerKind::Chips)?;
    model.applets.sort_unstable();
    model.applets.dedup();
    if model.applets.len() > MAX_APPLETS {
        return Err(Refusal::at(Reason::FieldTooLong, "applets"));
    }
    if let Some(before) =
        before.filter(|before| ChipModel { changed_ms: before.changed_ms, ..model.clone() } == **before)
    {
        return Ok((before.clone(), Vec::new()));
    }
    let name = changed(before.map(|before| before.standing), model.standing);
    let event = event(subject(&model.maker, &model.name), model.changed_ms, name);
    Ok((model.clone(), vec![Change::PutChipModel(model), Change::AddEvent(event)]))
}

/// Sets a device model, new or known. What is as it was already changes nothing.
///
/// # Errors
/// [`Reason::MakerNotFound`], [`Reason::MakerKindForbids`]; [`Reason::FieldMalformed`] for a device that notices being worn
/// and has no passcode to close.
pub fn put_device_model(
    model: DeviceModel,
    maker: Option<&Maker>,
    before: Option<&DeviceModel>,
) -> Result<(DeviceModel, Vec<Change>), Refusal> {
    of_kind(maker, MakerKind::Devices)?;
    if model.wear_detection && !model.passcode {
        return Err(Refusal::at(Reason::FieldMalformed, "wear_detection"));
    }
    if let Some(before) =
        before.filter(|before| DeviceModel { changed_ms: before.changed_ms, ..model.clone() } == **before)
    {
        return Ok((before.clone(), Vec::new()));
    }
    let name = changed(before.map(|before| before.standing), model.standing);
    let event = event(subject(&model.maker, &model.name), model.changed_ms, name);
    Ok((model.clone(), vec![Change::PutDeviceModel(model), Change::AddEvent(event)]))
}

/// What has become of a model, for the audit trail.
const fn changed(before: Option<Standing>, after: Standing) -> &'static str {
    match (before, after) {
        (None, _) => "model_added",
        (Some(Standing::Active), Standing::Withdrawn) => "model_withdrawn",
        (Some(Standing::Withdrawn), Standing::Active) => "model_readmitted",
        (Some(_), _) => "model_changed",
    }
}
