/** Restores a database backup with older generations than the replicas follow. No replica may return to an older route. */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { nextRoute } from '../serving/registration.ts'
import { lostRequests, startAsker } from './callers.ts'
import { fleetModel, row, routeTo, untilEveryReplica, type FleetStage } from './fleet-stage.ts'

export async function measureRestored(stage: FleetStage, versions: [old: string, present: string]) {
  const { store, urls } = stage
  const [old, present] = versions
  const backup = await routeTo(stage, old)
  for (let i = 0; i < 4; i++) await nextRoute(store, fleetModel, { proven: present })
  const last = await routeTo(stage, present)
  let raised = false
  const seen = urls.map(() => ({ answers: 0, movedBack: 0, afterRaise: 0 }))
  const asker = startAsker({
    targets: urls,
    each: 2,
    model: fleetModel,
    row,
    pauseMs: 1,
    onAnswer({ generation, version, target }) {
      const counts = seen[target]!
      counts.answers++
      if (!raised && (generation < last.generation || version === old)) counts.movedBack++
      if (raised && version === old) counts.afterRaise++
    },
  })
  await pause(500)
  // Simulates the restore: the old row and its notification.
  await store.query(sql`
    update routing set epoch = ${backup.epoch}, generation = ${backup.generation}, route = ${JSON.stringify(backup)}
    where model = ${fleetModel}`)
  await store.query(sql`select pg_notify('tenure_routing', ${fleetModel})`)
  // Covers two polls after the notification.
  await pause(5_000)
  const movedBack = seen.reduce((sum, each) => sum + each.movedBack, 0)
  raised = true
  await store.query(
    sql`insert into routing_epochs (epoch, reason) select max(epoch) + 1, 'restored from a backup' from routing_epochs`,
  )
  const next = await nextRoute(store, fleetModel, { proven: old })
  const fromMs = performance.now()
  await untilEveryReplica(stage, ({ epoch }) => epoch === next.epoch)
  const followedMs = Math.round(performance.now() - fromMs)
  await pause(500)
  await asker.stop()
  return {
    backup: { epoch: backup.epoch, generation: backup.generation },
    followed: { epoch: last.epoch, generation: last.generation },
    movedBack,
    afterTheEpochWasRaised: { epoch: next.epoch, generation: next.generation, followedMs },
    answers: seen.map(({ answers }) => answers),
    failures: lostRequests(asker).length,
  }
}
