/**
 * Opens the keys of a replica. The replica signs sessions, its own cache, rollbacks that wait for Postgres, and certificates of releases; it verifies versions and audit heads with public
 * keys only.
 */
import { openRowVerifier, type IsSigned } from '../../store/audit/row-signatures.ts'
import { headFiles, readHeads, type HeadReader } from '../../store/audit/signed-heads.ts'
import { purposesOf } from '../../store/signing/key-files.ts'
import { openPublicKeys, openSigner, type Signer, type Verifier } from '../../store/signing/signing-key.ts'
import { openSubjectKey, type SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Config } from '../../temporal.config.ts'

export interface ReplicaKeys {
  signer: Signer
  /** Signs the certificates of releases. */
  certificateSigner: Signer
  artifactKeys: Verifier
  heads: HeadReader
  subjects: SubjectKey
  /** Returns whether a process of this installation wrote a row of the audit log. */
  isSigned: IsSigned
}

export async function openReplicaKeys(
  config: Pick<Config, 'signing' | 'stateDir' | 'artifactRoot'>,
): Promise<ReplicaKeys> {
  const signing = { ...config.signing, purposes: purposesOf.api }
  return {
    signer: await openSigner(signing, 'replicas'),
    certificateSigner: await openSigner(signing, 'certificates'),
    artifactKeys: openPublicKeys(signing, 'artifacts'),
    heads: readHeads(headFiles(config), openPublicKeys(signing, 'heads')),
    subjects: await openSubjectKey(signing.subjectKey),
    isSigned: openRowVerifier(signing),
  }
}
