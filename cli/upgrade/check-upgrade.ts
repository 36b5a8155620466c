/** Checks whether this build fits a running installation before anything restarts: workflows, migrations, versions and judges. Changes nothing. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { CheckedBuild } from '../../domain/installation/checked-build.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { dryMigrate, type DryMigration } from '../../store/maintenance/dry-migration.ts'
import { environmentWith, launcher, readCommandConfig } from '../../temporal.config.ts'
import { coreAddresses } from '../client/connection.ts'
import { embeddedOwnerUrl } from '@tenure/embedded'
import { openStateDir } from '../state-dir.ts'
import { failure } from '../client/client.ts'

export interface CheckedUpgrade extends CheckedBuild {
  migrations: DryMigration
  /** Sentences that describe what would break or be decided differently. */
  issues: string[]
}

export interface UpgradeOptions {
  /** The migrations of the build to check, and its workflow code; default: this build. */
  migrations?: string
  workflowCode?: string
}

export async function checkUpgrade({
  migrations: directory,
  workflowCode,
}: UpgradeOptions = {}): Promise<CheckedUpgrade> {
  const command = readCommandConfig()
  const { databaseUrl, temporalAddress } = coreAddresses(command)
  const stateDir = openStateDir(command.stateDir)
  // Checking on a copy needs a role that may create databases, as the owner of the embedded server may.
  const embedded = () => embeddedOwnerUrl(join(stateDir, 'postgres'), Number(new URL(databaseUrl).port))
  const owner = command.ownerDatabaseUrl ?? command.databaseUrl ?? embedded() ?? databaseUrl
  const migrations = await dryMigrate(owner, directory)
  const build = await checkBuild(
    environmentWith({ DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress, TENURE_STATE: stateDir }),
    workflowCode === undefined ? [] : [workflowCode],
  )
  const checked = { migrations, ...build }
  return { ...checked, issues: issuesOf(checked) }
}

async function checkBuild(env: NodeJS.ProcessEnv, args: string[]): Promise<CheckedBuild> {
  const child = spawn(process.execPath, [launcher, 'activities/upgrade/check-build.ts', ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  // The library may print lines before the result.
  const checked = parseJson<CheckedBuild>(out.trimEnd().split('\n').at(-1) ?? '')
  if (checked?.replayed !== undefined) return checked
  throw failure({
    code: 'otherwise',
    detail: `the workflows could not be replayed: ${err.trim().split('\n').at(-1) ?? 'no answer'}`,
    remedy: 'Check with `tenure doctor` that Postgres and Temporal respond.',
  })
}

function issuesOf({
  migrations,
  replayed,
  versions,
  judged,
  gates,
  drift,
}: Omit<CheckedUpgrade, 'issues'>): string[] {
  const { pending, unknown, problem } = migrations
  return [
    ...(unknown.length === 0
      ? []
      : [
          `the database has run migrations that this build does not know: ${unknown.join(', ')}; this build is older`,
        ]),
    ...(problem === undefined ? [] : [`the migrations ${pending.join(', ')} fail on a copy: ${problem}`]),
    ...replayed.breaks.map(
      ({ workflowId, isOpen, problem }) =>
        `the ${isOpen ? 'open' : 'closed'} workflow ${workflowId} does not replay: ${problem}`,
    ),
    ...versions.refused.map(
      ({ version, problem }) =>
        `${version} serves, and this build cannot load it: ${problem}; release a version that it loads before the upgrade`,
    ),
    ...judged.differs.map(
      ({ release, stage, before, after }) =>
        `the release ${release} was judged ${before} in ${stage}, and would be judged ${after}`,
    ),
    ...[...gates.differs, ...drift.differs].map(
      ({ what, before, after }) => `${what}: judged ${before}, and would be judged ${after}`,
    ),
  ]
}
