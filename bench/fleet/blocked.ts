/**
 * Measures a replica that cannot load the candidate: it blocks the stage, is named, and unblocks the release once it can load it.
 */
import sql from 'sql-template-tag'
import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Registry } from '../../test/support/release/candidates.ts'
import { sayTo, startCanary } from './cut.ts'
import type { FleetStage } from './fixture.ts'

/** The artifact directory of a replica, as a symbolic link that can be removed and restored. */
export const artifactsOf = (stateDir: string, place: number): string =>
  join(stateDir, `artifacts-of-${place}`)

export function linkArtifacts(stateDir: string, place: number, to: string): void {
  const link = artifactsOf(stateDir, place)
  rmSync(link, { force: true })
  symlinkSync(to, link)
}

interface Told {
  why: string
  outcome?: string
  state: { routed: boolean; stage: string; blockedBy: string[] }
}

/** For each replica, releases a candidate that it cannot load. */
export async function measureBlocked(stage: FleetStage, registry: Registry, champion: string) {
  const { stateDir, artifactRoot } = stage.config
  const found = []
  for (const [place, url] of stage.urls.entries()) {
    linkArtifacts(stateDir, place, join(stateDir, 'nothing'))
    const candidate = await registry.register(champion)
    const release = await startCanary(stage, registry.model, candidate)
    const say = sayTo(stage.urls[0]!, stage.key)
    const told = async () => (await say('GET', `/v1/releases/${release}`)) as Told
    const [{ id } = { id: '' }] = await stage.store.query<{ id: string }>(
      sql`select id from replicas where url = ${url} and lease_until > clock_timestamp()`,
    )
    const blocked = await until(told, ({ state }) => state.blockedBy.length > 0)
    linkArtifacts(stateDir, place, artifactRoot)
    const healed = await until(told, ({ state }) => state.routed)
    await say('POST', `/v1/releases/${release}/abort`, { reason: 'seen' })
    await until(told, ({ outcome }) => outcome !== undefined)
    found.push({
      place,
      blocked: !blocked.state.routed,
      named: blocked.state.blockedBy.length === 1 && blocked.state.blockedBy[0]!.includes(id),
      why: blocked.why,
      wentOn: healed.state.routed,
    })
  }
  return found
}

async function until(look: () => Promise<Told>, holds: (told: Told) => boolean): Promise<Told> {
  const end = performance.now() + 30_000
  for (;;) {
    const told = await look()
    if (holds(told)) return told
    if (performance.now() > end) throw new Error(`it did not come: ${told.why}`)
    await pause(50)
  }
}
