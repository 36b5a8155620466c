/** Runs every check, whether Tenure runs or not. A failing or hanging check does not hide the others. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { headFiles } from '../../store/audit/signed-heads.ts'
import { createApiFetch } from '../../store/tls/api-fetch.ts'
import { cacheDir, environmentWith, readCommandConfig, readConfig } from '../../temporal.config.ts'
import { findConnection, trustAt } from '../client/connection.ts'
import { openStateDir } from '../state-dir.ts'
import { findOutliving, isClaimed } from '../supervisor/pidfile.ts'
import { wantedPorts } from '../supervisor/ports.ts'
import { findUnknownVariables } from '../unknown-variables.ts'
import { checkAnswer, checkCertificate } from './api.ts'
import { checkModels, checkRoot } from './files.ts'
import { broken, ok, warning, type Finding, type Note } from './finding.ts'
import {
  checkDisk,
  checkJail,
  checkLocale,
  checkMemory,
  checkNode,
  checkPort,
  checkSharedMemory,
} from './machine.ts'
import { checkParts } from './set-up.ts'

/**
 * Reports each finding as soon as it is known. `deep` starts a stopped embedded database; `verify` hashes every cached file of the set-up.
 */
export async function examine({
  deep,
  verify,
  onFinding,
}: {
  deep: boolean
  verify: boolean
  onFinding: (finding: Finding) => void
}): Promise<Finding[]> {
  const all: Finding[] = []
  const note: Note = (...findings) => {
    all.push(...findings)
    findings.forEach(onFinding)
  }
  /** Turns an unexpected error of a check into a finding. */
  const attempt = async (check: string, work: () => Promise<void> | void): Promise<void> => {
    try {
      await work()
    } catch (error) {
      note(broken(check, (error as Error).message, 'Correct the error, then run `tenure doctor` again.'))
    }
  }
  note(checkNode())
  let target: Target | undefined
  await attempt('configuration', () => {
    target = readTarget()
    note(
      ok(
        'configuration',
        `project ${target.command.project}, state in ${target.stateDir}, ${target.running ? 'running' : 'not running'} here`,
      ),
    )
  })
  for (const name of findUnknownVariables())
    note(
      warning(
        'configuration',
        `${name} is set, and nothing reads it`,
        'Correct its name (docs/reference/configuration.md has all) or remove it.',
      ),
    )
  await attempt('supervisor', () => {
    const outliving = target === undefined ? [] : findOutliving(join(target.stateDir, 'supervisor.json'))
    if (outliving.length > 0)
      note(
        broken(
          'supervisor',
          `the supervisor was killed; its API replicas (processes ${outliving.join(', ')}) serve the last known routes, and nothing else runs`,
          'Run `tenure up`: it takes their port over without a refused request, then ends them.',
        ),
      )
  })
  const elsewhere = new Set<string>()
  if (target?.command.databaseUrl !== undefined) elsewhere.add('postgres')
  if (target?.command.temporalAddress !== undefined) elsewhere.add('temporal')
  await attempt('set-up', async () => note(...(await checkParts(elsewhere, { verify }))))
  await attempt('memory', () => note(checkMemory(), checkSharedMemory()))
  await attempt('locale', async () => note(await checkLocale()))
  await attempt('python models', async () => note(await checkJail()))
  const keptDays = target?.config.retention.predictionDays
  await attempt('model files', async () => note(...(await checkModels({ keptDays }))))
  if (target === undefined) return all
  const known = target
  await attempt('disk', () => {
    note(checkDisk('state', known.stateDir), checkDisk('artifacts', known.config.artifactRoot))
    note(checkDisk('the cache of the set-up', cacheDir()))
  })
  await attempt('ports', async () => {
    if (!known.running) {
      const { servers, shared } = wantedPorts(known.command, 1)
      for (const port of [shared, ...Object.values(servers)]) note(await checkPort(port))
    }
    if (known.url !== undefined) note(await checkAnswer(known.url, known.call))
    if (known.config.api.tls !== undefined) note(checkCertificate(known.config.api.tls))
  })
  await attempt('artifacts', () => {
    const isUsed = known.config.objectStore === undefined && existsSync(headFiles(known.config)[0]!)
    note(checkRoot(known.config.artifactRoot, isUsed))
  })
  // Loading these libraries takes half a second, so the findings above are printed first.
  const { examineDatabase, examineObjectStore, examineTemporal } = await import('./servers.ts')
  await attempt('object store', () => examineObjectStore(known, note))
  await attempt('database', () => examineDatabase(known, { deep, note }))
  await attempt('temporal', () => examineTemporal(known, note))
  return all
}

type Target = ReturnType<typeof readTarget>

/** Reads what to check. Unknown addresses are undefined. */
function readTarget() {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  // Whether `tenure up` runs on this state.
  const running = isClaimed(join(stateDir, 'supervisor.json'))
  const found = running ? findConnection(stateDir) : undefined
  const databaseUrl = command.databaseUrl ?? found?.databaseUrl
  const temporalAddress = command.temporalAddress ?? found?.temporalAddress
  const url = command.url ?? found?.url
  const config = readConfig(
    environmentWith({
      TENURE_STATE: stateDir,
      // A placeholder, so that the rest of the configuration can be read without a database.
      DATABASE_URL: databaseUrl ?? 'postgres://127.0.0.1/none',
      TEMPORAL_ADDRESS: temporalAddress,
    }),
  )
  const temporalKnown = temporalAddress !== undefined
  const call = createApiFetch(trustAt(url ?? '', command, found))
  return { command, config, stateDir, running, temporalKnown, databaseUrl, url, call }
}
