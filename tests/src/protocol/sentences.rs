//! An enum whose values are sentences: what traces and tests print is what the reader of the source reads.

macro_rules! sentences {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$help:meta])* $value:ident = $sentence:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$help])* #[doc = $sentence] $value,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$value => $sentence),+ })
            }
        }
    };
}

pub(super) use sentences;
