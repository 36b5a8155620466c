/**
 * Checks the row account of the prediction log over repeated kill -9 of the API under load, with Postgres killed or frozen in
 * between. The rows lost with a process must be known exactly.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startPostgres } from '../../cli/embedded/postgres.ts'
import { sumAccounts } from '../../store/serving/log-accounts.ts'
import { migrate } from '../../store/database/migrate.ts'
import { openStore } from '../../store/postgres.ts'
import { startApiProcess, startLoad, waitUntil } from '../../test/support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../test/support/serving/artifact.ts'
import { freeze } from '../../test/support/servers/freeze.ts'
import { nextRoute, registerFixtureVersion } from '../../test/support/serving/registration.ts'
import { signingKeyOf } from '../../test/support/serving/sign-versions.ts'

export interface KillsReport {
  kills: number
  /** Kills and freezes of Postgres before the kill of the process. */
  outages: number
  /** Responses received by clients. */
  answered: number
  /** Clients connected at each kill: each may have lost one response. */
  inFlight: number
  /** Sums over the row accounts of all processes. */
  served: number
  stored: number
  dropped: number
  /** Accounts that are not closed. */
  open: number
  /** Rows in the table. */
  rows: number
}

const callers = 16

export async function killAgainAndAgain({
  kills,
  loadMs,
}: {
  kills: number
  loadMs: number
}): Promise<KillsReport> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-kills-'))
  // For root, Postgres runs as another user.
  chmodSync(root, 0o711)
  const dataDir = join(root, 'postgres')
  let postgres = await startPostgres({ dataDir })
  await migrate(postgres.url)
  const store = openStore(postgres.url, { name: 'kills', onError: () => {} })
  const artifacts = join(root, 'artifacts')
  await nextRoute(store, 'iris', { proven: await registerFixtureVersion(store, artifacts, irisSpec()) })
  const environment = {
    DATABASE_URL: postgres.url,
    TENURE_STATE: join(root, 'state'),
    TENURE_ARTIFACTS: artifacts,
    TENURE_SIGNING_KEY: signingKeyOf(artifacts),
    TENURE_PUBLIC_PREDICTIONS: 'on',
    LOG_LEVEL: 'info',
  }
  const ask = { path: '/v1/models/iris/predict', body: JSON.stringify({ instances: [irisRow] }), callers }
  let answered = 0
  let outages = 0
  try {
    for (let round = 0; round < kills; round++) {
      const api = await startApiProcess(environment)
      const load = startLoad(api.url, ask)
      await pause(loadMs * (0.5 + Math.random()))
      const kind = (['none', 'killed', 'frozen'] as const)[round % 3]!
      let heal = async (): Promise<void> => {}
      if (kind === 'killed') {
        process.kill(-postgres.pid, 'SIGKILL')
        heal = async () => void (postgres = await startPostgres({ dataDir, port: postgres.port }))
      } else if (kind === 'frozen') {
        const thaw = freeze(postgres.pid)
        heal = () => Promise.resolve(thaw())
      }
      if (kind !== 'none') outages++
      // Before the log notices the outage, while it spools, or after Postgres is back.
      await pause(loadMs * Math.random())
      if (round % 2 === 0) await heal()
      await pause(loadMs * 0.5 * Math.random())
      await api.end('SIGKILL')
      await load.stop()
      answered += load.answered()
      if (round % 2 === 1) await heal()
    }
    const last = await startApiProcess(environment)
    await waitUntil(
      async () => (await sumAccounts(store)).open === 0,
      'the accounts of the dead to be settled',
      60_000,
    )
    await last.end('SIGTERM')
    const { open, served, stored, dropped } = await sumAccounts(store)
    const { rows } = await store.pool.query<{ count: number }>('select count(*) from predictions')
    return {
      kills,
      outages,
      answered,
      inFlight: kills * callers,
      served,
      stored,
      dropped,
      open,
      rows: rows[0]!.count,
    }
  } finally {
    await store.close()
    await postgres.stop()
    rmSync(root, { recursive: true, force: true })
  }
}
