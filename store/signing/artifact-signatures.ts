/**
 * Signs the artifacts of versions. A digest shows that bytes are intact; a writer to the table of versions could still substitute another
 * artifact, so the signature binds name, model and digest to the key of this installation.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'
import type { Signer, Verifier } from './signing-key.ts'

export interface ArtifactIdentity {
  version: string
  model: string
  /** The digest of its manifest. */
  artifactDigest: string
}

/** Returns the signature to store with the version. */
export function signArtifact(signer: Signer, artifact: ArtifactIdentity): Buffer {
  return signer.sign(bytesOf(artifact))
}

/** Throws `artifact_untrusted` unless a key of this installation has signed this version, model and artifact. */
export function verifyArtifact(
  signer: Verifier,
  artifact: ArtifactIdentity & { signature?: Uint8Array | undefined },
): void {
  const { version, signature } = artifact
  if (signature === undefined)
    throw new DomainError('artifact_untrusted', `the artifact of ${version} has no signature`, { version })
  if (!signer.verify(bytesOf(artifact), signature))
    throw new DomainError(
      'artifact_untrusted',
      `no key of this installation has made the signature of ${version} over this manifest`,
      { version },
    )
}

/**
 * Signs every signed version again with another key, because the previous one is rotated, lost, or belongs to another installation.
 * With `trusted`, only versions whose signature it accepts, at `signedMs` where that is given; without, the caller must have checked the
 * artifacts. Returns how many.
 */
export async function resignArtifacts(
  database: Database,
  signer: Signer,
  trusted?: { keys: Verifier; signedMs?: number },
): Promise<number> {
  const signed = await database.query<ArtifactIdentity & { signature: Buffer }>(sql`
    select version, model, artifact_digest as "artifactDigest", signature from versions where signature is not null`)
  const versions = signed.filter(
    (each) => trusted === undefined || trusted.keys.verify(bytesOf(each), each.signature, trusted.signedMs),
  )
  for (const each of versions)
    await database.query(
      sql`update versions set signature = ${signArtifact(signer, each)} where version = ${each.version}`,
    )
  return versions.length
}

/** The signed bytes begin with their kind, so that a signature of one kind is never valid for another. */
const bytesOf = ({ version, model, artifactDigest }: ArtifactIdentity): Buffer =>
  Buffer.from(`tenure-version@1\n${JSON.stringify([version, model, artifactDigest])}`)
