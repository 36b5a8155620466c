/**
 * Opens the signing key of the installation, which signs what it keeps outside the database: manifests, cached routes and audit heads.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DomainError } from '../../domain/errors.ts'

export interface Signer {
  /** Ed25519 (RFC 8032) over the bytes: 64 bytes. */
  sign(bytes: Uint8Array): Buffer
  verify(bytes: Uint8Array, signature: Uint8Array): boolean
  /** Verification needs only this key, so it can be stored without the private key. */
  publicPem: string
}

export type Verifier = Pick<Signer, 'verify'>

/**
 * Opens the key in this file, or makes one. Of processes that start at once all get the same key. Throws
 * `configuration_invalid` for a file that holds no Ed25519 key.
 */
export async function openSigner(file: string): Promise<Signer> {
  const pem = (await readPem(file)) ?? (await makePem(file))
  const privateKey = readKey(file, pem)
  const publicKey = createPublicKey(privateKey)
  return {
    sign: (bytes) => sign(null, bytes, privateKey),
    verify: (bytes, signature) => verify(null, bytes, publicKey, signature),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

const readPem = (file: string): Promise<string | undefined> =>
  readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new DomainError('configuration_invalid', `the signing key ${file} cannot be read: ${error.message}`)
  })

/** Written whole under another name first; a link is refused when the name is taken, so that the first of several wins. */
async function makePem(file: string): Promise<string> {
  const fresh = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
  await mkdir(dirname(file), { recursive: true })
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, fresh, { mode: 0o600 })
  try {
    await link(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  return readFile(file, 'utf8')
}

function readKey(file: string, pem: string) {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below.
  }
  throw new DomainError('configuration_invalid', `${file} holds no Ed25519 private key in PEM`)
}
