//! Why the platform refuses a request: a stable code, a sentence a person understands, and the field at fault.
//!
//! A refused request has changed nothing. (A payment that is *declined* is an answer, not a refusal: see
//! [`crate::payments::Decline`].)

/// What kind of refusal it is; the server turns it into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The request itself is wrong and will never succeed as it is.
    Invalid,
    /// The caller may see it, and may not do this.
    Forbidden,
    /// What it names does not exist, or not for this caller.
    NotFound,
    /// It contradicts the present state.
    Conflict,
    /// The caller must wait.
    TooMany,
    /// What is needed for it is away; the same again may do.
    Unavailable,
}

macro_rules! reasons {
    ($($name:ident, $class:ident, $code:literal, $message:literal;)*) => {
        /// The reason of a [`Refusal`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $message] $name,)*
        }

        impl Reason {
            /// The stable code, for programs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence for people.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// The reason with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What kind of refusal it is.
            pub const fn class(self) -> RefusalClass {
                match self { $(Self::$name => RefusalClass::$class,)* }
            }
        }
    };
}

reasons! {
    IdMalformed, Invalid, "id_malformed", "This is not a valid id of that kind.";
    FieldMalformed, Invalid, "field_malformed", "This field does not have the form it must have.";
    FieldTooLong, Invalid, "field_too_long", "This field is longer than allowed.";
    AmountInvalid, Invalid, "amount_invalid", "The amount must be a whole number of minor units, at least 1 and at most 10,000,000,000,000.";
    CurrencyInvalid, Invalid, "currency_invalid", "The currency must be three upper-case letters of ISO 4217, such as CNY.";
    CurrencyNotOffered, Invalid, "currency_not_offered", "This operator keeps no accounts in that currency.";
    CurrencyNotTheMerchants, Invalid, "currency_not_the_merchants", "A merchant is paid in its own currency only.";
    CodeMalformed, Invalid, "code_malformed", "This is not a payment code: expected 16 to 24 digits, or the text of an EMV QR code.";
    OfferMalformed, Invalid, "offer_malformed", "This is not a binding offer shown by a wearable; scan its binding code again.";
    MessageMalformed, Invalid, "message_malformed", "The message from the wearable could not be read; send it again.";
    MomentTooLongAgo, Invalid, "moment_too_long_ago", "Too many entries were booked since then to tell the balance at that moment.";
    AccountNotFound, NotFound, "account_not_found", "There is no such account.";
    MerchantNotFound, NotFound, "merchant_not_found", "There is no such merchant.";
    ChipNotFound, NotFound, "chip_not_found", "No chip with this id has been registered.";
    TokenNotFound, NotFound, "token_not_found", "There is no such token.";
    BindingNotFound, NotFound, "binding_not_found", "There is no such binding.";
    PaymentNotFound, NotFound, "payment_not_found", "There is no such payment.";
    ChipExists, Conflict, "chip_exists", "A chip with this id is registered already.";
    ChipBound, Conflict, "chip_bound", "This wearable is bound already; unbind it first.";
    ChipNotGenuine, Conflict, "chip_not_genuine", "The chip could not prove that it is the one that was registered; nothing was bound.";
    ChipUncertified, Conflict, "chip_uncertified", "This chip came in no maker's shipment; the operator takes only chips whose makers vouch for them.";
    ChipSilent, Conflict, "chip_silent", "The chip did not answer everything it was asked; hold the wearable near the phone and start again.";
    ChipRefusedChannel, Conflict, "chip_refused_channel", "The chip opened no secure channel: it is terminated, or has other keys than its maker shipped it with.";
    ChipAttestsNothing, Conflict, "chip_attests_nothing", "The chip could not say with its own signature what it is: it is terminated, or has no device key or no certificate.";
    ChipStateForbids, Conflict, "chip_state_forbids", "The chip is suspended or terminated; it can not be bound.";
    AppletNotAllowed, Conflict, "applet_not_allowed", "The operator does not take this version of the payment applet on this chip model; update the wearable.";
    OfferUsed, Conflict, "offer_used", "This binding offer was used already; show a new one on the wearable.";
    BindingOver, Conflict, "binding_over", "This binding has ended; start a new one from the wearable.";
    BindingExpired, Conflict, "binding_expired", "The chip did not answer in time; start a new binding from the wearable.";
    BindingSuperseded, Conflict, "binding_superseded", "A newer binding has taken the place of this one; start again from the wearable.";
    TooManyBindings, TooMany, "too_many_bindings", "This account has begun as many bindings today as it may; start again tomorrow.";
    TooManyWearables, Conflict, "too_many_wearables", "This account has as many wearables as it may; unbind one first.";
    ChipCloned, Conflict, "chip_cloned", "More was paid with this token than its chip has made codes for: somebody has copied it, and it has been stopped.";
    SyncNotFound, NotFound, "sync_not_found", "This token was never synced.";
    SyncSuperseded, Conflict, "sync_superseded", "A newer sync of this wearable has taken the place of this one.";
    TooManySyncs, TooMany, "too_many_syncs", "This wearable was synced as often today as it may be; go on tomorrow.";
    SyncExpired, Conflict, "sync_expired", "The chip did not answer in time; start the sync again.";
    SyncFailed, Conflict, "sync_failed", "The chip refused a step of the sync; start it again.";
    TokenNotInChip, Conflict, "token_not_in_chip", "The chip does not hold this token any more; bind the wearable again.";
    BindingFailed, Conflict, "binding_failed", "The chip refused a step of the binding; start again from the wearable.";
    OrderParametersDiffer, Conflict, "order_parameters_differ", "This order number was used for a payment with other parameters; it stays that payment for ever.";
    OrderCancelled, Conflict, "order_cancelled", "This order was cancelled: no money of it has moved, or all of it was given back. Use a new order number.";
    RefundParametersDiffer, Conflict, "refund_parameters_differ", "This refund number was used with other parameters; it stays that refund for ever.";
    RefundExceedsPayment, Conflict, "refund_exceeds_payment", "The refunds would add up to more than the payment.";
    TooManyRefunds, Conflict, "too_many_refunds", "This payment has as many refunds as it may have; cancel its order to give back the rest.";
    PaymentNotRefundable, Conflict, "payment_not_refundable", "Only a payment that succeeded can be refunded.";
    ConfirmationOver, Conflict, "confirmation_over", "This payment does not wait to be confirmed any more.";
    TopUpParametersDiffer, Conflict, "top_up_parameters_differ", "This top-up reference was used with other parameters.";
    TooManyResumes, TooMany, "too_many_resumes", "This account has let wearables pay again as often today as it may; go on tomorrow, or ask the payment institution.";
    TokenStateForbids, Conflict, "token_state_forbids", "The token's present state does not allow this.";
    RulesNotFound, NotFound, "rules_not_found", "There is no such version of the risk rules.";
    RulesChanged, Conflict, "rules_changed", "The risk rules have been changed since then; look at them and try again.";
    HistoryTooLong, Invalid, "history_too_long", "Too many payments were made since then; choose a later moment.";
    OperatorOnly, Forbidden, "operator_only", "Only the operator may do this: ask the payment institution.";
    MerchantSuspended, Forbidden, "merchant_suspended", "This merchant takes no payments until the operator reinstates it.";
    TokensExhausted, Conflict, "tokens_exhausted", "Every token number under this prefix is taken; configure another prefix.";
    TooManyWrongCodes, TooMany, "too_many_wrong_codes", "Too many wrong codes came from this merchant; wait before trying again.";
    TooManyDeclines, TooMany, "too_many_declines", "So many codes and orders of this merchant paid nothing today that no more are kept; valid codes pay as before. Look at the tills, or go on tomorrow.";
    BooksRefused, Conflict, "books_refused", "The books do not allow this movement of money.";
    MakerNotFound, NotFound, "maker_not_found", "There is no such maker.";
    MakerExists, Conflict, "maker_exists", "A maker with this code is known already, with another name, kind or root.";
    MakerWithdrawn, Conflict, "maker_withdrawn", "This maker has been withdrawn: nothing new of it is taken.";
    MakerKindForbids, Conflict, "maker_kind_forbids", "This maker makes the other kind of thing: chips, or devices.";
    ModelNotFound, NotFound, "model_not_found", "There is no such model, or it has been withdrawn.";
    BatchNotFound, NotFound, "batch_not_found", "No batch with this id and key version was opened for this maker.";
    ShipmentNotFound, NotFound, "shipment_not_found", "There is no such shipment.";
    ShipmentDiffers, Conflict, "shipment_differs", "Another manifest of this maker has this number already.";
    ShipmentRefused, Conflict, "shipment_refused", "This shipment was given up; begin it again.";
    ShipmentIncomplete, Conflict, "shipment_incomplete", "Not all chips of this shipment have come in yet.";
    ShipmentComplete, Conflict, "shipment_complete", "This shipment has come in whole; its chips stay.";
    CertificateRevoked, Conflict, "certificate_revoked", "This certificate has been ended by its authority.";
    RevocationListOlder, Conflict, "revocation_list_older", "A list with this number or a higher one is in force already.";
    CertificateMalformed, Invalid, "certificate_malformed", "This is not an X.509 version 3 certificate, chain or list as it has to be.";
    CertificateTooLong, Invalid, "certificate_too_long", "This certificate, chain or list is longer than allowed.";
    CertificateSchemeUnknown, Invalid, "certificate_scheme_unknown", "Only P-256 with SHA-256 and SM2 with SM3 are taken.";
    CertificateOfAnotherIssuer, Invalid, "certificate_of_another_issuer", "Another authority than this maker's has issued this certificate or list.";
    CertificateForged, Invalid, "certificate_forged", "A signature does not fit, or the signer had no right to sign.";
    CertificateNotYetValid, Invalid, "certificate_not_yet_valid", "This certificate or list is not valid yet.";
    CertificateExpired, Invalid, "certificate_expired", "This certificate or list has expired.";
    KeysUnavailable, Unavailable, "keys_unavailable", "The key vault did not answer; nothing was done.";
}

/// A refused request: the reason, and the field it lies in where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The name of the field at fault, as the API spells it.
    pub field: Option<&'static str>,
}

impl Refusal {
    /// A refusal that lies in one field.
    pub const fn at(reason: Reason, field: &'static str) -> Self {
        Self { reason, field: Some(field) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, field: None }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.reason.message())?;
        self.field.map_or(Ok(()), |field| write!(f, " (field: {field})"))
    }
}

impl std::error::Error for Refusal {}
