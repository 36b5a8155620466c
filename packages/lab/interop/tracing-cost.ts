/**
 * Measures what tracing at a share of 1 % costs a replica. Two replicas of one kind differ by up to a tenth, because V8 compiles and inlines
 * in another order in each process. Therefore several of each kind are started, and compared with the difference between two of the same
 * kind.
 */
import { startApiProcess, type ApiProcess } from '../../../test/support/serving/api-process.ts'
import { irisRow } from '../../../test/support/serving/artifact.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { costUs, httpAsker } from './replica-cost.ts'

const share = 0.01

export interface TracedReplicas {
  /** A call without a collector, in microseconds. */
  offUs: number
  /** By draw: cost of a replica with tracing, and of a second one without, as multiples of the first. */
  traced: number[]
  again: number[]
}

/** Measures replicas; each draw starts three, which serve `iris`. */
export async function measureTracedReplicas(
  environment: () => Record<string, string>,
  collector: Record<string, string>,
  { draws, rounds, calls }: { draws: number; rounds: number; calls: number },
): Promise<TracedReplicas> {
  // The delay of production, whatever tests use.
  const traced = { ...collector, OTEL_BSP_SCHEDULE_DELAY: '5000', OTEL_TRACES_SAMPLER_ARG: String(share) }
  const kinds = { off: {}, again: {}, traced }
  const names = ['off', 'again', 'traced'] as const
  const offUs: number[] = []
  const ratios: Record<'again' | 'traced', number[]> = { again: [], traced: [] }
  for (let draw = 0; draw < draws; draw++) {
    const replicas: ApiProcess[] = []
    const found: Record<(typeof names)[number], number[]> = { off: [], again: [], traced: [] }
    try {
      for (const name of names) replicas.push(await startApiProcess({ ...environment(), ...kinds[name] }))
      const askers = replicas.map((each) =>
        httpAsker(each, '/v1/models/iris/predict', JSON.stringify({ instances: [irisRow] })),
      )
      // The first rounds compile. Replicas take turns, so that the load of the machine affects all of them.
      for (let round = -2; round < rounds; round++)
        for (const name of round % 2 === 0 ? names : names.toReversed()) {
          const place = names.indexOf(name)
          const us = await costUs(replicas[place]!, askers[place]!.ask, calls)
          if (round >= 0) found[name].push(us)
        }
      for (const each of askers) each.close()
    } finally {
      await Promise.all(replicas.map((each) => each.end('SIGTERM')))
    }
    const off = quantileOf(found.off, 0.5)
    offUs.push(off)
    for (const name of ['again', 'traced'] as const) ratios[name].push(quantileOf(found[name], 0.5) / off)
  }
  return { offUs: quantileOf(offUs, 0.5), ...ratios }
}
