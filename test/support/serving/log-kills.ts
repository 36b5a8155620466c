/**
 * Checks the row account of the prediction log over repeated kill -9 of the API under load, with Postgres killed or frozen in
 * between. The rows lost with a process must be known exactly.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { sumAccounts } from '../../../store/serving/prediction-log.ts'
import { startApiProcess, startLoad, waitUntil } from './api-process.ts'
import { irisRow, irisSpec } from './artifact.ts'
import { freeze } from '../servers/freeze.ts'
import { countLogRows, openDatabase, prepareServing } from '../servers/private-database.ts'

export type KillsReport = Awaited<ReturnType<typeof killAgainAndAgain>>

const callers = 16

export async function killAgainAndAgain({ kills, loadMs }: { kills: number; loadMs: number }) {
  const database = await openDatabase()
  const { store } = database
  const environment = { ...(await prepareServing(database, [irisSpec()])), LOG_LEVEL: 'info' }
  const ask = { path: '/v1/models/iris/predict', body: JSON.stringify({ instances: [irisRow] }), callers }
  let answered = 0
  let outages = 0
  try {
    for (let round = 0; round < kills; round++) {
      const api = await startApiProcess(environment)
      const load = startLoad(api.url, ask)
      await waitUntil(() => load.answered() > 0, 'the first response')
      await pause(loadMs * (0.5 + Math.random()))
      const kind = (['none', 'killed', 'frozen'] as const)[round % 3]!
      let heal = async (): Promise<void> => {}
      if (kind === 'killed') {
        process.kill(-database.pid(), 'SIGKILL')
        heal = database.restart
      } else if (kind === 'frozen') {
        const thaw = freeze(database.pid())
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
    // An account without a row in Postgres is not open there, and is settled all the same.
    await waitUntil(async () => {
      const { open, served } = await sumAccounts(store)
      return open === 0 && served >= answered
    }, 'the accounts of the dead to be settled')
    await last.end('SIGTERM')
    return {
      kills,
      /** Kills and freezes of Postgres before the kill of the process. */
      outages,
      /** Responses received by clients. */
      answered,
      /** Clients connected at each kill: each may have lost one response. */
      inFlight: kills * callers,
      /** Over the row accounts of all processes; `open` accounts are not closed. */
      ...(await sumAccounts(store)),
      rows: await countLogRows(database),
    }
  } finally {
    await database.stop()
  }
}
