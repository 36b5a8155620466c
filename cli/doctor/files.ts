/** Checks files: the artifact store, the champions' artifacts, the signing key and the model files. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isError } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { completeMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { loadModelsInChild } from '../sync/load-models.ts'
import { findUnmounted } from '../../store/artifact-marker.ts'
import { getArtifact, type Artifacts } from '../../store/artifacts.ts'
import type { ChampionFacts } from '../../store/maintenance/diagnostics.ts'
import {
  keyPurposes,
  listTrusted,
  nextFile,
  parseKey,
  privateFile,
  publicPemOf,
  trustedFile,
  type KeyPlaces,
  type KeyPurpose,
} from '../../store/signing/key-files.ts'
import { openPublicKeys, type Verifier } from '../../store/signing/signing-key.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { setUpCommand } from '../../temporal.config.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

/** `isUsed`: whether this installation has ever run. */
export function checkRoot(root: string, isUsed: boolean): Finding {
  const unmounted = findUnmounted(root, isUsed)
  if (unmounted !== undefined)
    return broken(
      'artifacts',
      unmounted,
      'Mount it again: work that needs it waits meanwhile, and predictions continue. Where its files are lost, restore a backup.',
    )
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

/** Checks the keys of this machine. Never creates a missing key. */
export function checkKeys(
  places: KeyPlaces,
  { versions }: { versions: number },
): { finding: Finding; verifier?: Verifier } {
  const trusted = trustedFile(places, 'artifacts')
  if (!existsSync(trusted))
    return {
      finding:
        versions === 0
          ? ok('signing keys', `none yet; the first start creates them in ${places.keys}`)
          : broken(
              'signing keys',
              `${trusted} is missing, but ${versions} versions are signed`,
              'Restore it and the keys from their copy. If they are lost, restore a backup with --re-sign.',
            ),
    }
  try {
    const unfit = keyPurposes
      .map((purpose) => compareKeys(places, purpose))
      .find((each) => each !== undefined)
    const verifier = openPublicKeys(places, 'artifacts')
    const open = keyPurposes
      .map((purpose) => privateFile(places, purpose))
      .filter((file) => existsSync(file) && (statSync(file).mode & 0o077) !== 0)
    const readable = warning(
      'signing keys',
      `${open.join(' and ')} can be read by other users`,
      `Run: chmod 600 ${open.join(' ')}`,
    )
    return {
      verifier,
      finding: unfit ?? (open.length > 0 ? readable : ok('signing keys', places.keys)),
    }
  } catch (error) {
    return {
      finding: broken(
        'signing keys',
        (error as Error).message,
        'Replace it with the key of this installation, in PEM.',
      ),
    }
  }
}

/** Compares the private key of a purpose with the list of trusted keys; undefined where they agree. Throws for an invalid file. */
function compareKeys(places: KeyPlaces, purpose: KeyPurpose): Finding | undefined {
  const trusted = listTrusted(places, purpose)
  const pemIn = (file: string) =>
    existsSync(file) ? publicPemOf(parseKey(file, readFileSync(file, 'utf8'))) : undefined
  const [file, list] = [privateFile(places, purpose), trustedFile(places, purpose)]
  const [own, next] = [pemIn(file), pemIn(nextFile(places, purpose))]
  if (own === undefined) return undefined
  const until = trusted.find(({ publicPem }) => publicPem === own)?.until
  if (until !== undefined)
    return broken(
      'signing keys',
      `${file} signs, but ${list} retires it at ${until}: later signatures are refused`,
      next === undefined
        ? 'Copy the private key that the other machines sign with to this machine.'
        : `The rotation was interrupted. Run \`tenure keys rotate-signing ${purpose}\` again.`,
    )
  const others = trusted.filter((each) => each.until === undefined && ![own, next].includes(each.publicPem))
  if (others.length === 0) return undefined
  return warning(
    'signing keys',
    `${list} trusts ${counted(others.length, 'other key')} without an end, whose private key is not on this machine; other machines may refuse what ${file} signs`,
    `If another machine signs with that key, copy its private.pem here. If that key is lost, run \`tenure keys rotate-signing ${purpose}\`, copy the list to the other machines, then set "until" of that key.`,
  )
}

/** Reads and verifies every byte of each champion. */
export async function checkChampions(
  champions: readonly ChampionFacts[],
  { artifacts, verifier }: { artifacts: Artifacts; verifier: Verifier | undefined },
): Promise<Finding[]> {
  if (champions.length === 0) return [skipped('champions', 'no champion yet')]
  const findings: Finding[] = []
  for (const { model, version, artifactDigest, signature } of champions) {
    try {
      await getArtifact(artifacts, artifactDigest)
      if (verifier !== undefined) verifyArtifact(verifier, { version, model, artifactDigest, signature })
    } catch (error) {
      const untrusted = isError(error, 'artifact_untrusted')
      findings.push(
        broken(
          'champions',
          `${version} cannot be loaded: ${(error as Error).message}`,
          untrusted
            ? 'Set TENURE_TRUST to the key of the installation that registered it.'
            : 'Copy the file from a backup of the folder TENURE_ARTIFACTS, and restart the replicas that could not load it.',
        ),
      )
    }
  }
  return findings.length > 0
    ? findings
    : [ok('champions', `${counted(champions.length, 'artifact')} verified`)]
}

/** Warns of models that need predictions for longer than they are kept: their late outcomes join nothing. */
export function findingsOfRetention(
  models: readonly Pick<ModelDefinition, 'name' | 'monitor' | 'source'>[],
  keptDays: number,
): Finding[] {
  return models.flatMap(({ name, monitor, source: { served } }) => {
    const ages = {
      'monitor.outcomesWithin': completeMonitorPolicy(monitor).observedMs,
      'since of served()': served?.sinceMs ?? 0,
      'matured of served()': served?.maturedMs ?? 0,
    }
    const found = Object.entries(ages)
      .map(([word, ms]) => ({ word, days: Math.ceil(ms / 86_400_000) }))
      .filter(({ days }) => days > keptDays)
    if (found.length === 0) return []
    const days = Math.max(...found.map((each) => each.days))
    return warning(
      'model files',
      `${name}: predictions are kept for ${keptDays} d, shorter than ${found.map((each) => `${each.word} (${each.days} d)`).join(' and ')}: later outcomes join no prediction`,
      `Set TENURE_KEEP_PREDICTIONS_DAYS above ${days} for every process, or lower the age in the model file.`,
    )
  })
}

export async function checkModels({
  directory,
  keptDays = Infinity,
}: { directory?: string; keptDays?: number } = {}): Promise<Finding[]> {
  let loaded: Awaited<ReturnType<typeof loadModelsInChild>>
  try {
    loaded = await loadModelsInChild({ directory })
  } catch (error) {
    return [broken('model files', (error as Error).message, `Run \`${setUpCommand}\` and follow its output.`)]
  }
  const { models, broken: faulty } = loaded
  return [
    ...(models.length === 0 ? [] : [ok('model files', models.map(({ name }) => name).join(', '))]),
    ...findingsOfRetention(
      models.map(({ definition }) => definition),
      keptDays,
    ),
    ...faulty.map(({ file, issues }) =>
      broken(
        'model files',
        `models/${file}: ${issues.slice(0, 3).join('; ')}`,
        'Correct it, then run `tenure models sync`.',
      ),
    ),
    ...(models.length + faulty.length === 0
      ? [warning('model files', 'no model file', 'Write one, or let `tenure init --from rows.csv` write it.')]
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
