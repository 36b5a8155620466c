/**
 * Opens the signing keys of the installation. Each purpose has its own key, so that a stolen key signs nothing else, and only the signing
 * process holds it; the others read a list of public keys. Both files are read again when they change, so that a rotation needs no
 * restart.
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
   * `signedMs`: when the signature was made or first verified, if recorded. Default: now. A retired key is valid for signatures from
   * before its end.
   */
  verify(bytes: Uint8Array, signature: Uint8Array, signedMs?: number): boolean
}

export interface Signer extends Verifier {
  /** Ed25519 (RFC 8032) over the bytes: 64 bytes. */
  sign(bytes: Uint8Array): Buffer
  /** The public key as PEM, which verifiers can store without the private key. */
  publicPem: string
}

/** How long a key file counts as unchanged. Verification checks at once when a signature matches no known key. */
const lookMs = 250

/**
 * Opens the key of this purpose, or creates one; concurrent processes all get the same key. Throws `configuration_invalid` for a file
 * without an Ed25519 key, and for a purpose that this process may not sign for.
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

/**
 * Opens the key for what other machines verify later, such as a backup. Throws `configuration_invalid` on a machine that has the public key of
 * the others and no private key: it would make a key of its own, whose signatures they refuse.
 */
export async function openCommonSigner(places: KeyPlaces, purpose: KeyPurpose): Promise<Signer> {
  const file = privateFile(places, purpose)
  const isElsewhere = listTrusted(places, purpose).some(({ until }) => until === undefined)
  if (isElsewhere && readKeyFile(file) === undefined)
    throw new DomainError(
      'configuration_invalid',
      `${file} is missing, and other machines sign with the key of ${purpose}: run this on one of them, or copy the file from there`,
    )
  return openSigner(places, purpose)
}

/** Opens the public keys of this purpose. The file may be written later; until then nothing verifies. */
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

/** Whether a signature of this public key is valid at a time. */
export function trustIn(
  places: KeyPlaces,
  purpose: KeyPurpose,
  publicPem: string,
): 'in use' | 'retired' | undefined {
  const found = listTrusted(places, purpose).find((each) => each.publicPem === publicPem)
  if (found === undefined) return undefined
  return found.until === undefined || Date.parse(found.until) > Date.now() ? 'in use' : 'retired'
}
