// Globals of both Node and workerd whose names @types/node keeps inside its module.
type JsonWebKey = import("node:crypto").webcrypto.JsonWebKey;
type CryptoKeyPair = import("node:crypto").webcrypto.CryptoKeyPair;
