/**
 * Writes a version with its evidence as a signed bundle. Reads the database and the artifacts of the installation directly, as a backup
 * does.
 */
import { writeFile } from 'node:fs/promises'
import { DomainError } from '../../domain/errors.ts'
import type { BundleRelease, BundleStatement } from '../../domain/model/bundle-origin.ts'
import type { Statement } from '../../domain/release/state.ts'
import { getArtifact } from '../../store/artifacts.ts'
import { signBundle } from '../../store/bundles/bundle.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { openStore } from '../../store/postgres.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { listReleasesOfVersion, type Release } from '../../store/release/releases.ts'
import { openPublicKeys, openCommonSigner } from '../../store/signing/signing-key.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { getEvaluation } from '../../store/training/evaluations.ts'
import type { Installation } from '../backup/installation.ts'
import { usageError } from '../client/client.ts'

export interface ExportedBundle {
  file: string
  version: string
  bytes: number
  approvals: number
}

/** Throws `command_refused` for a rolled-back version, `artifact_untrusted` for a version that this installation has not signed. */
export async function exportBundle(
  { databaseUrl, config }: Pick<Installation, 'databaseUrl' | 'config'>,
  { version: name, file }: { version: string; file: string },
): Promise<ExportedBundle> {
  const store = openStore(databaseUrl, { name: 'tenure bundle export', max: 1 })
  try {
    const version = await getVersion(store, name)
    const { model, artifactDigest, createdAt, createdBy, knownGoodAt, lineage } = version
    if (version.rolledBackAt !== undefined)
      throw new DomainError('command_refused', `${name} was rolled back at ${version.rolledBackAt}`)
    if (version.manifest.drill !== undefined)
      throw new DomainError('command_refused', `${name} was made for a drill`)
    verifyArtifact(openPublicKeys(config.signing, 'artifacts'), version)
    const {
      id,
      verdict,
      report,
      reportDigest: digest,
      baselineVersion: baseline,
    } = await getEvaluation(store, version.evaluationId)
    const releases = (await listReleasesOfVersion(store, name)).map(toBundle)
    const { manifest, files } = await getArtifact(openSharedArtifacts(config), artifactDigest)
    const bytes = signBundle(await openCommonSigner(config.signing, 'artifacts'), {
      document: {
        exportedAt: new Date().toISOString(),
        version: name,
        model,
        artifactDigest,
        createdAt,
        createdBy,
        knownGoodAt,
        lineage,
        evaluation: { id, verdict, digest, baseline, report },
        releases,
      },
      manifest,
      files: new Map(Object.entries(files).map(([name, content]) => [manifest.files[name]!.digest, content])),
    })
    await writeFile(file, bytes, { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
      throw usageError(
        error.code === 'EEXIST' ? `${file} already exists` : `${file} is not writable: ${error.message}`,
        'Name another file. Existing files are not overwritten.',
      )
    })
    const approvals = releases.flatMap((release) => release.approvals).length
    return { file, version: name, bytes: bytes.byteLength, approvals }
  } finally {
    await store.close()
  }
}

const toBundle = ({ state, startedAt, outcome }: Release): BundleRelease => ({
  id: state.id,
  requestedBy: state.requestedBy,
  startedAt,
  outcome,
  approvals: state.approvals.map(bundleStatement),
  breakGlass: state.breakGlass && bundleStatement(state.breakGlass),
})

const bundleStatement = ({ by, atMs, reason }: Statement): BundleStatement => ({
  by,
  at: new Date(atMs).toISOString(),
  reason,
})
