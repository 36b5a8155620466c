/** What lies in files: the artifact store, the artifacts of the champions, the key that vouches for them, the model files. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isError } from '../../domain/errors.ts'
import { loadModels } from '../../models/index.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import type { ChampionFacts } from '../../store/maintenance/diagnostics.ts'
import { openSigner, type Signer } from '../../store/signing/signing-key.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

export function checkRoot(root: string): Finding {
  try {
    mkdirSync(root, { recursive: true })
    accessSync(root, constants.R_OK | constants.W_OK | constants.X_OK)
    return ok('artifacts', `${root} can be written`)
  } catch (error) {
    return broken(
      'artifacts',
      `${root} cannot be written (${(error as NodeJS.ErrnoException).code})`,
      'Give this user the directory, or name another one with TENURE_ARTIFACTS.',
    )
  }
}

/** Opens the key only where there is one: looking must not make it. */
export async function checkKey(
  file: string,
  { versions }: { versions: number },
): Promise<{ finding: Finding; signer?: Signer }> {
  if (!existsSync(file))
    return {
      finding:
        versions === 0
          ? ok('signing key', `none yet; the first start makes ${file}`)
          : broken(
              'signing key',
              `${file} is not there, and ${versions} version(s) are signed with it`,
              'Put it back from where it is kept. When it is lost: restore a backup with --re-sign.',
            ),
    }
  try {
    const signer = await openSigner(file)
    const open = (statSync(file).mode & 0o077) !== 0
    return {
      signer,
      finding: open
        ? warning('signing key', `${file} can be read by others`, `chmod 600 ${file}`)
        : ok('signing key', file),
    }
  } catch (error) {
    return {
      finding: broken(
        'signing key',
        (error as Error).message,
        'Put the key of this installation there, in PEM.',
      ),
    }
  }
}

/** Reads every byte of each champion, as a replica will. */
export async function checkChampions(
  champions: readonly ChampionFacts[],
  { root, signer }: { root: string; signer: Signer | undefined },
): Promise<Finding[]> {
  if (champions.length === 0) return [skipped('champions', 'there is none yet')]
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
            ? 'Set TENURE_SIGNING_KEY to the key of the installation that has registered it.'
            : `Put the file back from a backup, or \`tenure rollback ${model}\`; check that TENURE_ARTIFACTS is right.`,
        ),
      )
    }
  }
  return findings.length > 0
    ? findings
    : [ok('champions', `${champions.length} artifact(s) are there, byte by byte`)]
}

export async function checkModels(directory?: string): Promise<Finding[]> {
  const { models, broken: faulty } = await loadModels(directory)
  return [
    ...(models.length === 0 ? [] : [ok('model files', models.map(({ name }) => name).join(', '))]),
    ...faulty.map(({ file, issues }) =>
      broken(
        'model files',
        `models/${file}: ${issues.slice(0, 3).join('; ')}`,
        'Correct it, then `tenure models sync`.',
      ),
    ),
    ...(models.length + faulty.length === 0
      ? [warning('model files', 'there is none', 'Write one: models/iris.ts is a short example.')]
      : []),
  ]
}

/** The data that an earlier embedded Postgres has left: another major version cannot read it. */
export function checkDataDirectory(stateDir: string, major: number): Finding {
  const file = join(stateDir, 'postgres', 'PG_VERSION')
  if (!existsSync(file)) return ok('embedded Postgres', 'no data yet; the first start makes it')
  try {
    const found = Number(readFileSync(file, 'utf8').trim())
    if (found === major) return ok('embedded Postgres', `data of version ${found} in ${stateDir}`)
    return broken(
      'embedded Postgres',
      `its data is of version ${found}, its program of version ${major}`,
      'Back up with the build that made it (`tenure backup`), move the directory away, and restore with this one.',
    )
  } catch (error) {
    return skipped(
      'embedded Postgres',
      `its data may not be looked at (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}
