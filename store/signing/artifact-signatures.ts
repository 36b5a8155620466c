/**
 * Who vouches for a version. The digest of a manifest shows that the bytes are whole; whoever can write to the table of
 * versions could put another whole artifact in its place. The signature binds name, model and digest to the key of this
 * installation, so that such a row is loaded by nobody.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'
import type { Signer } from './signing-key.ts'

export interface ArtifactIdentity {
  version: string
  model: string
  /** Of its manifest. */
  artifactDigest: string
}

/** To be stored with the version. */
export function signArtifact(signer: Signer, vouched: ArtifactIdentity): Buffer {
  return signer.sign(bytesOf(vouched))
}

/** Throws `artifact_untrusted` unless the key of this installation has signed exactly this. */
export function verifyArtifact(
  signer: Signer,
  vouched: ArtifactIdentity & { signature?: Uint8Array | undefined },
): void {
  const { version, signature } = vouched
  if (signature === undefined)
    throw new DomainError('artifact_untrusted', `nobody has signed the artifact of ${version}`, { version })
  if (!signer.verify(bytesOf(vouched), signature))
    throw new DomainError(
      'artifact_untrusted',
      `the signature of ${version} is not one of this installation's key over its manifest`,
      { version },
    )
}

/**
 * Vouches for every version that anybody has vouched for, with another key: the one before is lost, or belongs to another
 * installation. Their artifacts must have been checked by whoever asks for it. Answers how many.
 */
export async function resignArtifacts(database: Database, signer: Signer): Promise<number> {
  const versions = await database.query<ArtifactIdentity>(sql`
    select version, model, artifact_digest as "artifactDigest" from versions where signature is not null`)
  for (const each of versions)
    await database.query(
      sql`update versions set signature = ${signArtifact(signer, each)} where version = ${each.version}`,
    )
  return versions.length
}

/** What is signed begins with what it is, so that a signature of one kind is never one of another. */
const bytesOf = ({ version, model, artifactDigest }: ArtifactIdentity): Buffer =>
  Buffer.from(`tenure-version@1\n${JSON.stringify([version, model, artifactDigest])}`)
