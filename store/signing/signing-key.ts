/**
 * Opens the signing keys of the installation. There is one for each purpose, so that a stolen one signs nothing else, and only the process
 * that signs holds it; the others read a list of public keys. Both files are read again when they change, so that a key is rotated
 * without a restart.
 */
import { createPublicKey, sign, verify } from 'node:crypto'
import { DomainError } from '../../domain/errors.ts'
import {
  listTrusted,
  makeKey,
  parseKey,
  parseTrusted,
  privateFile,
  publicPemOf,
  readKeyFile,
  reread,
  trustedFile,
  trustKey,
  unreadableKey,
  type KeyPlaces,
  type KeyPurpose,
} from './key-files.ts'

export interface Verifier {
  /**
   * `signedMs` is when the signature was seen to be valid, where that is recorded. Default: now. A retired key counts for what it signed
   * before its end.
   */
  verify(bytes: Uint8Array, signature: Uint8Array, signedMs?: number): boolean
}

export interface Signer extends Verifier {
  /** Ed25519 (RFC 8032) over the bytes: 64 bytes. */
  sign(bytes: Uint8Array): Buffer
  /** Verification needs only this key, so it can be stored without the private key. */
  publicPem: string
}

/** How long a key file counts as unchanged. Verification looks at once when a signature is of no known key. */
const lookMs = 250

/**
 * Opens the key of this purpose, or makes one. Of processes that start at once all get the same key. Throws `configuration_invalid` for a
 * file that holds no Ed25519 key, and for a purpose that is not one of this process.
 */
export async function openSigner(places: KeyPlaces, purpose: KeyPurpose): Promise<Signer> {
  if (places.purposes?.includes(purpose) === false)
    throw new DomainError(
      'configuration_invalid',
      `this process signs ${places.purposes.join(' and ')}, and holds no key of ${purpose}`,
    )
  const file = privateFile(places, purpose)
  if (readKeyFile(file) === undefined) await makeKey(file)
  const key = reread(file, (text) => {
    const privateKey = parseKey(file, text)
    return { privateKey, publicPem: publicPemOf(privateKey) }
  })
  const { verify: isSigned } = openPublicKeys(places, purpose)
  const held = () => {
    const found = key.read(lookMs)
    if (found === undefined) throw unreadableKey(file, 'it is missing')
    return found
  }
  await trustKey(places, purpose, { publicPem: held().publicPem })
  return {
    sign: (bytes) => sign(null, bytes, held().privateKey),
    verify: isSigned,
    get publicPem() {
      return held().publicPem
    },
  }
}

/** Opens the public keys of this purpose. They may be written later: until then nothing verifies. */
export function openPublicKeys(places: KeyPlaces, purpose: KeyPurpose): Verifier {
  const file = trustedFile(places, purpose)
  const trusted = reread(file, (text) =>
    parseTrusted(file, text).map(({ publicPem, until }) => ({
      key: createPublicKey(publicPem),
      untilMs: until === undefined ? Infinity : Date.parse(until),
    })),
  )
  return {
    verify(bytes, signature, signedMs = Date.now()) {
      const fits = (ageMs: number) =>
        trusted
          .read(ageMs)
          ?.some(({ key, untilMs }) => signedMs <= untilMs && verify(null, bytes, key, signature)) === true
      return fits(lookMs) || fits(0)
    },
  }
}

/** Whether a signature of this public key counts: now, or ever. */
export function trustIn(
  places: KeyPlaces,
  purpose: KeyPurpose,
  publicPem: string,
): 'in use' | 'retired' | undefined {
  const found = listTrusted(places, purpose).find((each) => each.publicPem === publicPem)
  if (found === undefined) return undefined
  return found.until === undefined || Date.parse(found.until) > Date.now() ? 'in use' : 'retired'
}
