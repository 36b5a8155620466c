/** Checks files: the artifact store, the champions' artifacts, the signing key and the model files. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isError } from '../../domain/errors.ts'
import { loadModelsInChild } from '../sync/load-models.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import type { ChampionFacts } from '../../store/maintenance/diagnostics.ts'
import { openSigner, type Signer } from '../../store/signing/signing-key.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

export function checkRoot(root: string): Finding {
  try {
    mkdirSync(root, { recursive: true })
    accessSync(root, constants.R_OK | constants.W_OK | constants.X_OK)
    return ok('artifacts', `${root} is writable`)
  } catch (error) {
    return broken(
      'artifacts',
      `${root} is not writable (${(error as NodeJS.ErrnoException).code})`,
      'Make it writable for this user, or set TENURE_ARTIFACTS.',
    )
  }
}

/** Checks an existing key. A missing key must not be created by a check. */
export async function checkKey(
  file: string,
  { versions }: { versions: number },
): Promise<{ finding: Finding; signer?: Signer }> {
  if (!existsSync(file))
    return {
      finding:
        versions === 0
          ? ok('signing key', `none yet; the first start creates ${file}`)
          : broken(
              'signing key',
              `${file} is missing, but ${versions} versions are signed with it`,
              'Restore it from its copy. If it is lost, restore a backup with --re-sign.',
            ),
    }
  try {
    const signer = await openSigner(file)
    const open = (statSync(file).mode & 0o077) !== 0
    return {
      signer,
      finding: open
        ? warning('signing key', `${file} is readable by other users`, `Run: chmod 600 ${file}`)
        : ok('signing key', file),
    }
  } catch (error) {
    return {
      finding: broken(
        'signing key',
        (error as Error).message,
        'Replace it with the key of this installation, in PEM.',
      ),
    }
  }
}

/** Reads and verifies every byte of each champion. */
export async function checkChampions(
  champions: readonly ChampionFacts[],
  { root, signer }: { root: string; signer: Signer | undefined },
): Promise<Finding[]> {
  if (champions.length === 0) return [skipped('champions', 'no champion yet')]
  const artifacts = openArtifacts(root)
  const findings: Finding[] = []
  for (const { model, version, artifactDigest, signature } of champions) {
    try {
      await getArtifact(artifacts, artifactDigest)
      if (signer !== undefined) verifyArtifact(signer, { version, model, artifactDigest, signature })
    } catch (error) {
      const untrusted = isError(error, 'artifact_untrusted')
      findings.push(
        broken(
          'champions',
          `${version} cannot be loaded: ${(error as Error).message}`,
          untrusted
            ? 'Set TENURE_SIGNING_KEY to the key of the installation that registered it.'
            : `Restore the file from a backup, or run \`tenure rollback ${model}\`; check TENURE_ARTIFACTS.`,
        ),
      )
    }
  }
  return findings.length > 0 ? findings : [ok('champions', `${champions.length} artifacts verified`)]
}

export async function checkModels(directory?: string): Promise<Finding[]> {
  const { models, broken: faulty } = await loadModelsInChild({ directory })
  return [
    ...(models.length === 0 ? [] : [ok('model files', models.map(({ name }) => name).join(', '))]),
    ...faulty.map(({ file, issues }) =>
      broken(
        'model files',
        `models/${file}: ${issues.slice(0, 3).join('; ')}`,
        'Correct it, then run `tenure models sync`.',
      ),
    ),
    ...(models.length + faulty.length === 0
      ? [warning('model files', 'no model file', 'Write one; models/iris.ts is a short example.')]
      : []),
  ]
}

/** Compares the version of the embedded data with that of the binary: another major version cannot read it. */
export function checkDataDirectory(stateDir: string, major: number): Finding {
  const file = join(stateDir, 'postgres', 'PG_VERSION')
  if (!existsSync(file)) return ok('embedded Postgres', 'no data yet; the first start creates it')
  try {
    const found = Number(readFileSync(file, 'utf8').trim())
    if (found === major) return ok('embedded Postgres', `data of version ${found} in ${stateDir}`)
    return broken(
      'embedded Postgres',
      `data of version ${found}, binary of version ${major}`,
      'Run `tenure backup` with the old build, move the directory, and restore with this build.',
    )
  } catch (error) {
    return skipped('embedded Postgres', `data not readable (${(error as NodeJS.ErrnoException).code})`)
  }
}
