/**
 * Looks at everything that Tenure needs, whether it runs or not. A check never throws and never waits for ever: the more is
 * wrong, the more must still be said.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { diagnose } from '../../store/maintenance/diagnostics.ts'
import {
  cacheDir,
  environmentWith,
  readCommandConfig,
  readConfig,
  type CommandConfig,
  type Config,
} from '../../temporal.config.ts'
import { openInstallation } from '../backup/installation.ts'
import { findConnection } from '../client/connection.ts'
import { readParts } from '../embedded/binaries.ts'
import { openStateDir } from '../embedded/state-dir.ts'
import { isClaimed } from '../supervisor/pidfile.ts'
import { checkAnswer } from './api.ts'
import { findingsOfDatabase } from './database.ts'
import { checkChampions, checkDataDirectory, checkKey, checkModels, checkRoot } from './files.ts'
import { broken, ok, skipped, type Finding } from './finding.ts'
import { checkDisk, checkLocale, checkMemory, checkNode, checkPort, checkSharedMemory } from './machine.ts'
import { checkParts } from './set-up.ts'
import { checkTemporal } from './temporal.ts'

/** Tells each finding as soon as it is there. `deep` starts an embedded database that does not run, to look into it. */
export async function examine({
  deep,
  verify,
  onFinding,
}: {
  deep: boolean
  /** Whether every cached file of the set-up is hashed again. */
  verify: boolean
  onFinding: (finding: Finding) => void
}): Promise<Finding[]> {
  const all: Finding[] = []
  const note = (...findings: Finding[]): void => {
    all.push(...findings)
    findings.forEach(onFinding)
  }
  /** What a check did not foresee is a finding as well. */
  const attempt = async (check: string, work: () => Promise<void> | void): Promise<void> => {
    try {
      await work()
    } catch (error) {
      note(broken(check, (error as Error).message, 'Correct what is said, then look again.'))
    }
  }
  note(checkNode())
  let scene: Scene | undefined
  await attempt('configuration', () => {
    scene = sceneOf()
    note(ok('configuration', `state in ${scene.stateDir}, ${scene.running ? 'runs' : 'does not run'} here`))
  })
  const elsewhere = new Set<string>()
  if (scene?.command.databaseUrl !== undefined) elsewhere.add('postgres')
  if (scene?.command.temporalAddress !== undefined) elsewhere.add('temporal')
  await attempt('set-up', async () => note(...(await checkParts(elsewhere, { verify }))))
  await attempt('memory', () => note(checkMemory(), checkSharedMemory()))
  await attempt('locale', async () => note(await checkLocale()))
  await attempt('model files', async () => note(...(await checkModels())))
  if (scene === undefined) return all
  const known = scene
  await attempt('disk', () => {
    note(checkDisk('state', known.stateDir), checkDisk('artifacts', known.config.artifactRoot))
    note(checkDisk('the cache of the set-up', cacheDir()))
  })
  await attempt('ports', async () => {
    if (!known.running) for (const port of usualPorts(known.command)) note(await checkPort(port))
    const { url } = known
    if (url !== undefined) note(await checkAnswer(url))
  })
  await attempt('artifacts', () => note(checkRoot(known.config.artifactRoot)))
  await attempt('database', async () => examineDatabase(known, { deep, note }))
  await attempt('temporal', async () => {
    if (known.temporalKnown)
      note(
        ...(await checkTemporal(known.config, { workersExpected: known.running || known.url !== undefined })),
      )
    else note(skipped('temporal', 'it does not run; `tenure up` starts one'))
  })
  return all
}

interface Scene {
  command: CommandConfig
  config: Config
  stateDir: string
  /** Whether `tenure up` runs on this state. */
  running: boolean
  /** Of the database, when there is one to be asked. */
  databaseUrl?: string
  temporalKnown: boolean
  /** Of the API, when one is known. */
  url?: string
}

function sceneOf(): Scene {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  const running = isClaimed(join(stateDir, 'supervisor.json'))
  const found = running ? findConnection(stateDir) : undefined
  const databaseUrl = command.databaseUrl ?? found?.databaseUrl
  const temporalAddress = command.temporalAddress ?? found?.temporalAddress
  const url = command.url ?? found?.url
  const config = readConfig(
    environmentWith({
      TENURE_STATE: stateDir,
      // Only to read the rest by: without a database nothing is asked of it.
      DATABASE_URL: databaseUrl ?? 'postgres://127.0.0.1/none',
      TEMPORAL_ADDRESS: temporalAddress,
    }),
  )
  return {
    command,
    config,
    stateDir,
    running,
    temporalKnown: temporalAddress !== undefined,
    databaseUrl,
    url,
  }
}

interface Look {
  deep: boolean
  note: (...findings: Finding[]) => void
}

async function examineDatabase(scene: Scene, { deep, note }: Look): Promise<void> {
  const { databaseUrl, stateDir } = scene
  if (databaseUrl !== undefined) return lookInto(scene, databaseUrl, note)
  const data = checkDataDirectory(stateDir, embeddedMajor())
  note(data)
  if (!deep || data.state !== 'ok' || !existsSync(join(stateDir, 'postgres', 'PG_VERSION')))
    return note(skipped('database', 'it does not run; `tenure doctor --deep` starts it for a look'))
  const place = await openInstallation({ make: false })
  try {
    // It is opened as its owner, as whom no process works: what that role may do tells nothing.
    await lookInto(scene, place.databaseUrl, (...findings) =>
      note(...findings.filter(({ check }) => check !== 'audit')),
    )
  } finally {
    await place.close()
  }
}

async function lookInto(
  { config, running, url }: Scene,
  databaseUrl: string,
  note: Look['note'],
): Promise<void> {
  const { artifactRoot, signingKey } = config
  const diagnosis = await diagnose(databaseUrl, 'tenure doctor')
  note(...findingsOfDatabase(databaseUrl, diagnosis, { running: running || url !== undefined }))
  if ('code' in diagnosis) return
  const { finding, signer } = await checkKey(signingKey, { versions: diagnosis.versions ?? 0 })
  note(finding)
  if (diagnosis.champions !== undefined)
    note(...(await checkChampions(diagnosis.champions, { root: artifactRoot, signer })))
}

function embeddedMajor(): number {
  const text = execFileSync(join(readParts().postgres, 'bin', 'postgres'), ['--version']).toString()
  return Number(/(\d+)/.exec(text)?.[1] ?? 0)
}

function usualPorts({ ports, databaseUrl, temporalAddress }: CommandConfig) {
  return [
    { what: 'the API', port: ports.api, variable: 'TENURE_PORT' },
    ...(databaseUrl === undefined
      ? [{ what: 'Postgres', port: ports.postgres, variable: 'TENURE_POSTGRES_PORT' }]
      : []),
    ...(temporalAddress === undefined
      ? [
          { what: 'Temporal', port: ports.temporal, variable: 'TENURE_TEMPORAL_PORT' },
          { what: "Temporal's pages", port: ports.temporalUi, variable: 'TENURE_TEMPORAL_UI_PORT' },
        ]
      : []),
  ]
}
