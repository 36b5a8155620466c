/** Measures whether the arms get the configured shares: over a million keys in this process, and over requests to every replica. */
import { setTimeout as pause } from 'node:timers/promises'
import { armOfKey, totalBp, type Route } from '../../../domain/serving/route.ts'
import { nextRoute } from '../serving/registration.ts'
import { lostRequests, startAsker } from './callers.ts'
import { fleetModel, row, untilFollowed, type FleetStage } from './fleet-stage.ts'

/** 99.9 % of a normal distribution lie within this many standard deviations. */
const within = 3.2905

/** Counts the keys on the canary at each share, and the keys that left it at a larger share. */
export function measureShares(keys: number, shares: readonly number[]) {
  const had = new Uint8Array(keys)
  return shares.map((shareBp) => {
    const route: Route = {
      model: fleetModel,
      epoch: 1,
      generation: 1,
      salt: 'rel_01a1f8a8',
      proven: 'champion',
      arms: [
        { arm: 'canary', version: 'canary', shareBp },
        { arm: 'champion', version: 'champion', shareBp: totalBp - shareBp },
      ],
    }
    let canaries = 0
    let movedBack = 0
    for (let i = 0; i < keys; i++) {
      const isCanary = armOfKey(route, `customer ${i}`).arm === 'canary'
      if (isCanary) canaries++
      else if (had[i] === 1) movedBack++
      had[i] = isCanary ? 1 : 0
    }
    const expected = (keys * shareBp) / totalBp
    const bound = within * Math.sqrt(expected * (1 - shareBp / totalBp))
    return { shareBp, canaries, expected, off: canaries - expected, bound: Math.round(bound), movedBack }
  })
}

/** Sends the same routing keys to every replica and compares the arm of each response with the route. */
export async function measureReplicas(
  stage: FleetStage,
  { versions, answers }: { versions: [champion: string, canary: string]; answers: number },
) {
  const [champion, canary] = versions
  const route = await nextRoute(
    stage.store,
    fleetModel,
    {
      release: 'rel_bench',
      salt: 'rel_bench',
      proven: champion,
      arms: [
        { arm: 'canary', version: canary, shareBp: 2_500 },
        { arm: 'champion', version: champion, shareBp: 7_500 },
      ],
    },
    600_000,
  )
  await untilFollowed(stage, route.generation)
  const found = stage.urls.map(() => ({ answers: 0, canaries: 0, wrong: 0 }))
  const asker = startAsker({
    targets: stage.urls,
    each: 4,
    model: fleetModel,
    row,
    onAnswer({ version, generation, target, routingKey }) {
      if (generation !== route.generation) return
      const counts = found[target]!
      counts.answers++
      if (version === canary) counts.canaries++
      if (armOfKey(route, routingKey).version !== version) counts.wrong++
    },
  })
  while (found.some((counts) => counts.answers < answers)) await pause(20)
  await asker.stop()
  return { replicas: found, failures: lostRequests(asker).length }
}
