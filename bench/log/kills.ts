/**
 * The equation of the prediction log over processes that are killed: so many times kill -9 of the API under load, with a
 * Postgres that is killed or frozen in between. What a dead process took with it must be known to the row.
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
  /** How often Postgres was killed, or frozen, before the process was. */
  outages: number
  /** Answers that callers have got. */
  answered: number
  /** Callers that were there at each kill: each may have been answered without hearing of it. */
  inFlight: number
  /** Sums over the accounts of all processes. */
  served: number
  stored: number
  dropped: number
  /** Accounts that are not settled. */
  open: number
  /** Rows in the table, counted there. */
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
  // Postgres runs as another user when this one is root.
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
      // Sometimes before the log has noticed, sometimes when it spools already, sometimes after the return.
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
