/**
 * Signs and opens bundles: a tar of `bundle.json`, its signature, the manifest of the artifact and its files. The signature covers
 * bundle.json, which holds the hash of every other entry.
 */
import { createHash, verify } from 'node:crypto'
import { bundleFormat, type BundleDocument } from '../../domain/registry/bundle.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { digestOf } from '../artifacts.ts'
import type { Signer } from '../signing/signing-key.ts'
import { fingerprintOf, parsePublicKey, type TrustedSigner } from './trusted-signers.ts'
import { createTarIndex, isTarHeader, tarBlock, tarHeader } from '../foreign/foreign-archive.ts'
import type { ForeignLimits } from '../foreign/foreign-names.ts'

const documentName = 'bundle.json'
const signatureName = 'bundle.sig'
const manifestName = 'manifest.json'
const fileName = (digest: string): string => `files/${digest.replace(/^sha256:/, '')}`

export interface BundleContent {
  document: Omit<BundleDocument, 'format' | 'publicKey' | 'entries'>
  manifest: Manifest
  /** Digest → bytes. */
  files: ReadonlyMap<string, Buffer>
}

export function signBundle(signer: Signer, { document, manifest, files }: BundleContent): Buffer {
  const others = new Map([
    [manifestName, Buffer.from(canonicalJson(manifest))],
    ...[...files].map(([digest, bytes]) => [fileName(digest), bytes] as const),
  ])
  const entries = Object.fromEntries(
    [...others].map(([name, bytes]) => [name, { bytes: bytes.byteLength, sha256: sha256(bytes) }]),
  )
  const whole: BundleDocument = { format: bundleFormat, ...document, publicKey: signer.publicPem, entries }
  const bytes = Buffer.from(`${JSON.stringify(whole, null, 1)}\n`)
  return writeTar(
    new Map([[documentName, bytes], [signatureName, signer.sign(signedBytes(bytes))], ...others]),
  )
}

export interface OpenedBundle {
  document: BundleDocument
  signer: TrustedSigner
  manifest: Manifest
  /** The manifest as it is stored. */
  manifestBytes: Buffer
  /** Name in the manifest → bytes. */
  files: Record<string, Buffer>
}

/**
 * Verifies the signature before it reads anything that the signature covers. Throws `bundle_untrusted` for a signer that is not trusted,
 * and `bundle_invalid` for a bundle that was changed, truncated or assembled wrongly.
 */
export function openBundle(bytes: Buffer, trusted: readonly TrustedSigner[]): OpenedBundle {
  const entries = readTar(bytes)
  const entry = (name: string): Buffer => entries.get(name) ?? refuse(`it has no ${name}`)
  const text = entry(documentName)
  const document = parseJson<BundleDocument>(text.toString('utf8'))
  if (document?.format !== bundleFormat)
    return refuse(`${documentName} has the format ${JSON.stringify(document?.format)}, not ${bundleFormat}`)
  const signer = signerOf(document, trusted)
  if (!verify(null, signedBytes(text), signer.key, entry(signatureName)))
    return refuse(`${documentName} was changed after ${signer.name} had signed it`)
  const rest = [...entries.keys()].filter((name) => name !== documentName && name !== signatureName)
  const unknown = rest.find((name) => !Object.hasOwn(document.entries, name))
  if (unknown !== undefined) return refuse(`it has the entry ${JSON.stringify(unknown)}, which is not signed`)
  for (const [name, expected] of Object.entries(document.entries)) {
    const found = entry(name)
    if (found.byteLength !== expected.bytes || sha256(found) !== expected.sha256)
      return refuse(`${name} was changed after ${signer.name} had signed it`)
  }
  const manifestBytes = entry(manifestName)
  if (digestOf(manifestBytes) !== document.artifactDigest)
    return refuse(`${manifestName} is not the manifest ${document.artifactDigest}`)
  const manifest = JSON.parse(manifestBytes.toString('utf8')) as Manifest
  if (manifest.model !== document.model)
    return refuse(`its manifest is one of ${manifest.model}, not of ${document.model}`)
  const files = Object.fromEntries(
    Object.entries(manifest.files).map(([name, { digest }]) => {
      const content = entry(fileName(digest))
      if (digestOf(content) !== digest)
        return refuse(`${fileName(digest)} is not the file ${name} of its manifest`)
      return [name, content]
    }),
  )
  return { document, signer, manifest, manifestBytes, files }
}

function signerOf({ publicKey }: BundleDocument, trusted: readonly TrustedSigner[]): TrustedSigner {
  const key = parsePublicKey(String(publicKey))
  if (key === undefined) return refuse(`${documentName} names no Ed25519 public key`)
  const fingerprint = fingerprintOf(key)
  const found = trusted.find((each) => each.fingerprint === fingerprint)
  if (found !== undefined) return found
  const known = trusted.map(({ name, fingerprint }) => `${name} (${fingerprint})`).join(', ')
  throw new DomainError(
    'bundle_untrusted',
    `the bundle is signed by the key ${fingerprint}, which is not trusted here; trusted are ${known || 'no keys'}`,
  )
}

/** The signed bytes begin with their kind, so that a signature of one kind is never valid for another. */
const signedBytes = (document: Buffer): Buffer => Buffer.concat([Buffer.from(`${bundleFormat}\n`), document])

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

function refuse(why: string): never {
  throw new DomainError('bundle_invalid', `the bundle cannot be used: ${why}`)
}

// Writes and reads small tar archives in memory.

export type TarEntries = ReadonlyMap<string, Buffer>

/** The body limit of the route bounds the bytes. */
const limits = { maxFiles: 1_000, maxBytes: Infinity, maxDepth: 2 }

export function writeTar(entries: TarEntries, at?: Date): Buffer {
  const parts = [...entries].flatMap(([name, content]) => [
    tarHeader(name, content.byteLength, at),
    content,
    Buffer.alloc((tarBlock - (content.byteLength % tarBlock)) % tarBlock),
  ])
  return Buffer.concat([...parts, Buffer.alloc(2 * tarBlock)])
}

/** Reads an archive. Throws `bundle_invalid` for an archive that is truncated, damaged, hostile or followed by other bytes. */
export function readTar(
  bytes: Buffer,
  options: { limits: ForeignLimits; refuse: (why: string) => never } = { limits, refuse },
): TarEntries {
  if (!isTarHeader(bytes)) options.refuse('it is not a bundle')
  const index = createTarIndex(bytes.byteLength, {
    limits: options.limits,
    refuse: (why) => options.refuse(`it ${why}`),
  })
  for (let at = index.next(); at !== undefined; at = index.next())
    index.add(bytes.subarray(at, at + tarBlock))
  return new Map(
    [...index.entries].map(([name, place]) => [name, bytes.subarray(place.start, place.start + place.bytes)]),
  )
}
