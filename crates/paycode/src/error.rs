//! The shape of every error of this crate: a small enum without data that could be secret, a
//! stable `code()` for machines, one sentence for people.

/// Declares an error enum with a stable code and one sentence for each variant.
macro_rules! error_enum {
    (
        $(#[$enum_doc:meta])*
        $name:ident {
            $( $(#[$variant_doc:meta])* $variant:ident = $code:literal, $sentence:literal; )+
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_doc])* $variant, )+
        }

        impl $name {
            /// The stable name of this error, for logs, interfaces and the specification.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $( Self::$variant => $code, )+
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $( Self::$variant => $sentence, )+
                })
            }
        }

        impl core::error::Error for $name {}
    };
}

pub(crate) use error_enum;
