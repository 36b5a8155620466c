/** Runs every check, whether Tenure runs or not. A failing or hanging check never hides the others. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openObjectStore } from '../../store/objects/open-store.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { diagnose } from '../../store/maintenance/diagnostics.ts'
import { createApiFetch } from '../../store/tls/api-fetch.ts'
import {
  cacheDir,
  environmentWith,
  readCommandConfig,
  readConfig,
  type CommandConfig,
} from '../../temporal.config.ts'
import { openInstallation } from '../backup/installation.ts'
import { findConnection, trustAt } from '../client/connection.ts'
import { readParts } from '../embedded/binaries.ts'
import { openStateDir } from '../embedded/state-dir.ts'
import { findOutliving, isClaimed } from '../supervisor/pidfile.ts'
import type { WantedPort } from '../supervisor/ports.ts'
import { checkAnswer, checkCertificate } from './api.ts'
import { checkAppliedState } from './applied-state.ts'
import { checkBackups } from './backups.ts'
import { findingsOfDatabase } from './database.ts'
import { checkDuties } from './duties.ts'
import { checkChampions, checkDataDirectory, checkKeys, checkModels, checkRoot } from './files.ts'
import { broken, ok, skipped, type Finding } from './finding.ts'
import { checkDisk, checkLocale, checkMemory, checkNode, checkPort, checkSharedMemory } from './machine.ts'
import { checkObjectStore } from './object-store.ts'
import { checkParts } from './set-up.ts'
import { checkTemporal } from './temporal.ts'

/** Reports each finding at once. `deep` starts a stopped embedded database; `verify` hashes every cached file of the set-up. */
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
  /** An unexpected error of a check becomes a finding. */
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
  await attempt('model files', async () => note(...(await checkModels())))
  if (target === undefined) return all
  const known = target
  await attempt('disk', () => {
    note(checkDisk('state', known.stateDir), checkDisk('artifacts', known.config.artifactRoot))
    note(checkDisk('the cache of the set-up', cacheDir()))
  })
  await attempt('ports', async () => {
    if (!known.running) for (const port of defaultPorts(known.command)) note(await checkPort(port))
    if (known.url !== undefined) note(await checkAnswer(known.url, known.call))
    if (known.config.api.tls !== undefined) note(checkCertificate(known.config.api.tls))
  })
  await attempt('artifacts', () => note(checkRoot(known.config.artifactRoot)))
  const { objectStore } = known.config
  if (objectStore !== undefined)
    await attempt('object store', async () => note(await checkObjectStore(openObjectStore(objectStore))))
  await attempt('database', async () => examineDatabase(known, { deep, note }))
  await attempt('temporal', async () => {
    if (!known.temporalKnown) return note(skipped('temporal', 'Not running; `tenure up` starts it'))
    const findings = await checkTemporal(known.config, { workersExpected: isExpected(known) })
    note(...findings)
    if (findings.some(({ check, state }) => check === 'temporal' && state === 'broken')) return
    if (known.databaseUrl !== undefined && isExpected(known))
      note(...(await checkDuties(known.config, known.databaseUrl)))
  })
  return all
}

type Target = ReturnType<typeof readTarget>

/** What to check: addresses are undefined if unknown. */
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

/** Whether processes of Tenure should run, here or elsewhere. */
const isExpected = ({ running, url }: Target): boolean => running || url !== undefined

type Note = (...findings: Finding[]) => void

async function examineDatabase(target: Target, { deep, note }: { deep: boolean; note: Note }): Promise<void> {
  const { databaseUrl, stateDir } = target
  if (databaseUrl !== undefined) return checkDatabase(target, databaseUrl, note)
  const data = checkDataDirectory(stateDir, embeddedMajor())
  note(data)
  if (!deep || data.state !== 'ok' || !existsSync(join(stateDir, 'postgres', 'PG_VERSION')))
    return note(skipped('database', 'Not running; `tenure doctor --deep` starts it for the check'))
  const place = await openInstallation({ make: false })
  try {
    // Opened as the owner, a role that no process uses, so its privileges say nothing about the audit.
    await checkDatabase(target, place.databaseUrl, (...findings) =>
      note(...findings.filter(({ check }) => check !== 'audit')),
    )
  } finally {
    await place.close()
  }
}

async function checkDatabase(target: Target, databaseUrl: string, note: Note): Promise<void> {
  const { signing } = target.config
  const diagnosis = await diagnose(databaseUrl, 'tenure doctor')
  note(...findingsOfDatabase(databaseUrl, diagnosis, { running: isExpected(target) }))
  if ('code' in diagnosis) return
  if (diagnosis.migrations.pending.length === 0) note(...(await checkAppliedState(databaseUrl)))
  if (isExpected(target)) note(checkBackups(diagnosis.backups))
  const { finding, verifier } = checkKeys(signing, { versions: diagnosis.versions ?? 0 })
  note(finding)
  if (diagnosis.champions !== undefined)
    note(
      ...(await checkChampions(diagnosis.champions, {
        artifacts: openSharedArtifacts(target.config),
        verifier,
      })),
    )
}

function embeddedMajor(): number {
  const text = execFileSync(join(readParts().postgres, 'bin', 'postgres'), ['--version']).toString()
  return Number(/(\d+)/.exec(text)?.[1] ?? 0)
}

/** The ports of what `tenure up` would start here. */
function defaultPorts({ ports, databaseUrl, temporalAddress, temporalUi }: CommandConfig): WantedPort[] {
  const planned: WantedPort[] = [{ what: 'the API', port: ports.api, variable: 'TENURE_PORT' }]
  if (databaseUrl === undefined)
    planned.push({ what: 'Postgres', port: ports.postgres, variable: 'TENURE_POSTGRES_PORT' })
  if (temporalAddress === undefined)
    planned.push({ what: 'Temporal', port: ports.temporal, variable: 'TENURE_TEMPORAL_PORT' })
  if (temporalAddress === undefined && temporalUi)
    planned.push({
      what: "Temporal's pages",
      port: ports.temporalUi,
      variable: 'TENURE_TEMPORAL_UI_PORT',
    })
  return planned
}
