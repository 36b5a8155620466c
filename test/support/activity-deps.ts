/** Builds the dependencies of activities for tests that call activities directly: a migrated database and a private state directory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ActivityLog, Deps } from '../../activities/deps.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { readConfig } from '../../temporal.config.ts'
import { migratedDatabase, openPatientStore } from './servers/servers.ts'

export interface ActivityDeps extends Deps {
  close(): Promise<void>
}

/** `environment`: additional environment variables. `log`: replacements for the log levels that a test reads. */
export interface ActivityDepsOptions {
  environment?: Record<string, string | undefined>
  log?: Partial<ActivityLog>
}

export async function openActivityDeps({
  environment,
  log,
}: ActivityDepsOptions = {}): Promise<ActivityDeps> {
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-activities-'))
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: stateDir,
    TENURE_BUILD_ID: 'test',
    ...environment,
  })
  const store = openPatientStore(config.databaseUrl, { metricSources: config.metricSources })
  return {
    store,
    artifacts: openArtifacts(config.artifactRoot),
    config,
    log: { debug() {}, info() {}, warn() {}, error() {}, ...log },
    async close() {
      await store.close()
      rmSync(stateDir, { recursive: true })
    },
  }
}
