//! Merchants: who they are, where and what they sell, their keys; how they are suspended and reinstated.

use ledger::Currency;

use crate::accounts::display_name;
use crate::{Caller, Change, Event, KeyHash, MerchantId, Reason, Refusal, Settings, UnixMs};

/// A shop that takes payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// Its id.
    pub id: MerchantId,
    /// The name shown to wearers.
    pub name: String,
    /// The currency it is paid in.
    pub currency: Currency,
    /// How it authenticates.
    pub api_key: KeyHash,
    /// When it joined.
    pub created_ms: UnixMs,
    /// Wrong codes it has sent lately.
    pub wrong_codes: WrongCodes,
    /// Since when it takes no payments, until the operator reinstates it; `None` of one that takes them.
    pub suspended_ms: Option<UnixMs>,
    /// What it sells, where the operator has said so.
    pub category: Option<Category>,
    /// Where its tills stand, where the operator has said so.
    pub position: Option<Position>,
}

/// A merchant category code of ISO 18245: four digits, such as 5411 for a grocery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Category(u16);

impl Category {
    /// Reads four decimal digits.
    ///
    /// # Errors
    /// [`Reason::FieldMalformed`], at `category`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_code = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_code);
        number.map(Self).ok_or(Refusal::at(Reason::FieldMalformed, "category"))
    }

    /// The category with this number, 0 to 9999.
    pub fn from_number(number: u16) -> Option<Self> {
        (number <= 9_999).then_some(Self(number))
    }

    /// The number, 0 to 9999.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl core::fmt::Display for Category {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// A place on earth, in ten-thousandths of a degree (about 11 metres).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    latitude_e4: i32,
    longitude_e4: i32,
}

impl Position {
    /// Degrees to the units kept.
    const E4: f64 = 10_000.0;

    /// The place with these degrees, north and east positive.
    ///
    /// # Errors
    /// [`Reason::FieldMalformed`], at `latitude` or `longitude`, for what is on no map.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Result<Self, Refusal> {
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(Refusal::at(Reason::FieldMalformed, "latitude"));
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(Refusal::at(Reason::FieldMalformed, "longitude"));
        }
        // Both are within 1.8 million, by the bounds above.
        Ok(Self {
            latitude_e4: (latitude * Self::E4).round() as i32,
            longitude_e4: (longitude * Self::E4).round() as i32,
        })
    }

    /// The place in the units it is kept in: latitude, longitude.
    pub fn from_e4(latitude_e4: i32, longitude_e4: i32) -> Option<Self> {
        let fits = (-900_000..=900_000).contains(&latitude_e4) && (-1_800_000..=1_800_000).contains(&longitude_e4);
        fits.then_some(Self { latitude_e4, longitude_e4 })
    }

    /// Latitude and longitude, ten-thousandths of a degree.
    pub const fn e4(self) -> (i32, i32) {
        (self.latitude_e4, self.longitude_e4)
    }

    /// Latitude and longitude, degrees.
    pub fn degrees(self) -> (f64, f64) {
        (f64::from(self.latitude_e4) / Self::E4, f64::from(self.longitude_e4) / Self::E4)
    }

    /// How far it is to another place along the earth's surface, whole kilometres (haversine, on a sphere of 6,371 km).
    pub fn km_to(self, other: Self) -> u32 {
        const EARTH_RADIUS_KM: f64 = 6_371.0;
        let radians = |(latitude, longitude): (f64, f64)| (latitude.to_radians(), longitude.to_radians());
        let ((lat_a, lon_a), (lat_b, lon_b)) = (radians(self.degrees()), radians(other.degrees()));
        let (half_lat, half_lon) = (((lat_b - lat_a) / 2.0).sin(), ((lon_b - lon_a) / 2.0).sin());
        let chord = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lon * half_lon;
        // At most half the way around: 20,016 km.
        (2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()) as u32
    }
}

/// Wrong codes of a merchant: within one window of time, and on one of the operator's days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrongCodes {
    /// When the window began.
    pub since_ms: UnixMs,
    /// How many came since.
    pub count: u32,
    /// The operator's day they were last counted on, from 1970-01-01.
    pub day: i64,
    /// How many came on it.
    pub day_count: u32,
    /// What else came on it that is kept and paid nothing: codes that are no guess, and orders closed that never came.
    pub fruitless: u32,
}

impl WrongCodes {
    /// How long the merchant must wait before its next code is looked at, milliseconds; `None` when it need not.
    pub fn wait_ms(&self, now_ms: UnixMs, settings: &Settings) -> Option<u64> {
        let codes = &settings.codes;
        let ends_ms = self.since_ms.saturating_add(codes.merchant_window_ms);
        let waits = self.count >= codes.merchant_wrong_codes && now_ms < ends_ms;
        waits.then(|| ends_ms - now_ms)
    }

    /// The counts at this moment. A day that has begun stays, as it does for limits: of two servers around midnight, one whose
    /// clock is behind must not open the day before anew.
    #[must_use]
    pub fn on_day(&self, now_ms: UnixMs, settings: &Settings) -> Self {
        let day = settings.day_of(now_ms);
        if day > self.day { Self { day, day_count: 0, fruitless: 0, ..*self } } else { *self }
    }

    /// The counts after one more wrong code.
    #[must_use]
    pub fn one_more(&self, now_ms: UnixMs, settings: &Settings) -> Self {
        let window_over = now_ms >= self.since_ms.saturating_add(settings.codes.merchant_window_ms);
        let (since_ms, count) = if window_over { (now_ms, 0) } else { (self.since_ms, self.count) };
        let today = self.on_day(now_ms, settings);
        Self { since_ms, count: count.saturating_add(1), day_count: today.day_count.saturating_add(1), ..today }
    }
}

/// What taking on a merchant needs.
#[derive(Debug, Clone)]
pub struct TakeOn {
    /// A fresh id.
    pub id: MerchantId,
    /// The name shown to wearers.
    pub name: String,
    /// The currency it is paid in.
    pub currency: Currency,
    /// What it sells, where that is known.
    pub category: Option<Category>,
    /// Where its tills stand, where that is known.
    pub position: Option<Position>,
    /// The hash of a fresh API key.
    pub api_key: KeyHash,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Takes a merchant on.
///
/// # Errors
/// [`crate::Reason::FieldMalformed`] or [`crate::Reason::FieldTooLong`] for the name.
pub fn take_on(request: TakeOn) -> Result<(Merchant, Vec<Change>), Refusal> {
    let name = display_name(&request.name, "name")?;
    let TakeOn { id, currency, category, position, api_key, now_ms, .. } = request;
    let merchant = Merchant {
        id,
        name,
        currency,
        api_key,
        created_ms: now_ms,
        wrong_codes: WrongCodes::default(),
        suspended_ms: None,
        category,
        position,
    };
    Ok((merchant.clone(), vec![Change::PutMerchant(merchant)]))
}

/// What the operator does to a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MerchantAction {
    /// Take no payments of it any more. Refunds and cancels go on.
    Suspend,
    /// Take its payments again; its counts of wrong codes start anew.
    Reinstate,
}

impl MerchantAction {
    /// The name in the API and in the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Reinstate => "reinstate",
        }
    }
}

/// Suspends or reinstates a merchant. Doing twice what is done already changes nothing.
///
/// # Errors
/// [`Reason::FieldMalformed`] or [`Reason::FieldTooLong`] for `why`, up to 100 bytes, may be empty.
pub fn act(
    action: MerchantAction,
    merchant: Merchant,
    why: &str,
    now_ms: UnixMs,
) -> Result<(Merchant, Vec<Change>), Refusal> {
    let why = match why.trim() {
        "" => String::new(),
        why => display_name(why, "why")?,
    };
    let suspends = action == MerchantAction::Suspend;
    if suspends == merchant.suspended_ms.is_some() {
        return Ok((merchant, Vec::new()));
    }
    let wrong_codes = if suspends { merchant.wrong_codes } else { WrongCodes::default() };
    let merchant = Merchant { suspended_ms: suspends.then_some(now_ms), wrong_codes, ..merchant };
    let event = Event::about_merchant(merchant.id, now_ms, action.name(), Caller::Operator).because(why);
    Ok((merchant.clone(), vec![Change::PutMerchant(merchant), Change::AddEvent(event)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodeSettings;

    #[test]
    fn a_merchant_that_sends_unknown_codes_waits_until_the_window_is_over() {
        let codes = CodeSettings { merchant_wrong_codes: 3, merchant_window_ms: 1_000, ..CodeSettings::default() };
        let settings = Settings { codes, ..Settings::default() };
        let mut wrong = WrongCodes::default();
        for (now_ms, wait_ms) in [(5_000, None), (5_100, None), (5_200, Some(800))] {
            wrong = wrong.one_more(now_ms, &settings);
            assert_eq!(wrong.wait_ms(now_ms, &settings), wait_ms);
        }
        assert_eq!(wrong.wait_ms(5_999, &settings), Some(1));
        assert_eq!(wrong.wait_ms(6_000, &settings), None);
        let next = wrong.one_more(6_000, &settings);
        assert_eq!((next.since_ms, next.count, next.day_count), (6_000, 1, 4));
        let tomorrow_ms = 6_000 + 86_400_000;
        let tomorrow = next.one_more(tomorrow_ms, &settings);
        assert_eq!((tomorrow.day, tomorrow.day_count), (1, 1));
        assert_eq!(tomorrow.one_more(6_000, &settings).day, 1, "a clock that is behind opens no day anew");
    }

    #[test]
    fn categories_and_places_are_read_strictly() {
        assert_eq!(Category::parse("0742").unwrap().to_string(), "0742");
        for wrong in ["", "54", "54111", "54a1", "+541", "５４１１"] {
            assert_eq!(Category::parse(wrong), Err(Refusal::at(Reason::FieldMalformed, "category")), "{wrong}");
        }
        for (latitude, longitude, field) in [
            (90.1, 0.0, "latitude"),
            (f64::NAN, 0.0, "latitude"),
            (0.0, -180.1, "longitude"),
            (0.0, f64::INFINITY, "longitude"),
        ] {
            assert_eq!(Position::from_degrees(latitude, longitude), Err(Refusal::at(Reason::FieldMalformed, field)));
        }
        let place = |latitude, longitude| Position::from_degrees(latitude, longitude).unwrap();
        let (beijing, shanghai) = (place(39.9042, 116.4074), place(31.2304, 121.4737));
        // 1,067 km along the great circle.
        assert!((1_060..=1_075).contains(&beijing.km_to(shanghai)), "{}", beijing.km_to(shanghai));
        assert_eq!((beijing.km_to(beijing), place(0.0, 0.0).km_to(place(0.0, 180.0))), (0, 20_015));
        assert_eq!(place(10.0, 179.9).km_to(place(10.0, -179.9)), 21, "over the date line");
    }
}
