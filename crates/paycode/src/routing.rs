//! Which institution a scanned code belongs to.
//!
//! A [`RoutingTable`] that exists is unambiguous: among the routes of one code length no prefix begins
//! another, so at most one route fits any code. Longest match alone would not do: the body of a code is
//! as good as random, so an institution with prefix 71 would make codes that begin with its neighbour's
//! 7123, and they would be taken there.

use crate::{Code, CodeFormat, error::error_enum};

error_enum! {
    /// Why routes are no routing table.
    RoutingError {
        /// The routes are not in the order of [`Route`]'s `Ord`.
        Unsorted = "routing_unsorted", "the routes are not sorted";
        /// Two routes of one code length have the same prefix, or one's prefix begins the other's.
        Ambiguous = "routing_ambiguous", "two routes of one length have overlapping prefixes";
    }
}

/// The number of an institution, as the operators of one network agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstitutionId(
    /// The number.
    pub u32,
);

/// One line of a routing table: the codes of this format are this institution's.
///
/// Ordered by code length, then prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Prefix and total length of the codes.
    pub format: CodeFormat,
    /// Whose codes they are.
    pub institution: InstitutionId,
}

/// Routes that no code can match twice, in order. Finds one in logarithmic time.
///
/// ```
/// use paycode::{Code, CodeFormat, InstitutionId, Route, RoutingTable};
///
/// let mut routes = [
///     Route { format: CodeFormat::new("7123", 22)?, institution: InstitutionId(2) },
///     Route { format: CodeFormat::new("71", 20)?, institution: InstitutionId(1) },
/// ];
/// routes.sort_unstable();
/// let table = RoutingTable::new(&routes)?;
///
/// let code = Code::parse("71234567890123456789")?;
/// assert_eq!(table.route(&code).map(|route| route.institution), Some(InstitutionId(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RoutingTable<'r> {
    routes: &'r [Route],
}

impl<'r> RoutingTable<'r> {
    /// The table of these routes, sorted by the caller. An empty one routes nothing.
    ///
    /// # Errors
    /// [`RoutingError::Unsorted`] or [`RoutingError::Ambiguous`].
    pub fn new(routes: &'r [Route]) -> Result<Self, RoutingError> {
        // In sorted order a prefix comes just before the first of its extensions, so neighbours tell all.
        for (one, next) in routes.iter().zip(routes.iter().skip(1)) {
            if one > next {
                return Err(RoutingError::Unsorted);
            }
            let same_length = one.format.total_digits() == next.format.total_digits();
            if same_length && next.format.prefix().starts_with(one.format.prefix()) {
                return Err(RoutingError::Ambiguous);
            }
        }
        Ok(Self { routes })
    }

    /// The route of this code, or `None` where it belongs to no institution of the table.
    #[must_use]
    pub fn route(&self, code: &Code) -> Option<&'r Route> {
        let digits = code.as_bytes();
        // The only route that can fit is the last one not above the code: anything between a prefix of
        // the code and the code would have that prefix too.
        let above = self
            .routes
            .partition_point(|route| (route.format.total_digits(), route.format.prefix()) <= (digits.len(), digits));
        let route = self.routes.get(above.checked_sub(1)?)?;
        route.format.matches(digits).then_some(route)
    }
}
