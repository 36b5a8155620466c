/**
 * Measures a replica that cannot load the candidate: it blocks the stage, is named, and unblocks the release once it can load it.
 */
import sql from 'sql-template-tag'
import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Registry } from '../../../test/support/release/candidates.ts'
import { startCanary, untilRelease } from '../../../test/support/fleet/cut.ts'
import { sayTo, type FleetStage } from '../../../test/support/fleet/fleet-stage.ts'

/** The artifact directory of a replica, as a symbolic link that can be removed and restored. */
export const artifactsOf = (stateDir: string, place: number): string =>
  join(stateDir, `artifacts-of-${place}`)

export function linkArtifacts(stateDir: string, place: number, to: string): void {
  const link = artifactsOf(stateDir, place)
  rmSync(link, { force: true })
  symlinkSync(to, link)
}

/** For each replica, releases a candidate that it cannot load. */
export async function measureBlocked(stage: FleetStage, registry: Registry, champion: string) {
  const { stateDir, artifactRoot } = stage.config
  const found = []
  for (const [place, url] of stage.urls.entries()) {
    linkArtifacts(stateDir, place, join(stateDir, 'nothing'))
    const candidate = await registry.register(champion)
    const release = await startCanary(stage, registry.model, candidate)
    const [{ id } = { id: '' }] = await stage.store.query<{ id: string }>(
      sql`select id from replicas where url = ${url} and lease_until > clock_timestamp()`,
    )
    const blocked = await untilRelease(stage, release, ({ state }) => (state?.blockedBy ?? []).length > 0)
    linkArtifacts(stateDir, place, artifactRoot)
    const healed = await untilRelease(stage, release, ({ state }) => state?.routed === true)
    await sayTo(stage.urls[0]!, stage.key)('POST', `/v1/releases/${release}/abort`, { reason: 'seen' })
    await untilRelease(stage, release, ({ outcome }) => outcome !== undefined)
    const names = blocked.state?.blockedBy ?? []
    found.push({
      place,
      blocked: blocked.state?.routed !== true,
      named: names.length === 1 && names[0]!.includes(id),
      why: blocked.why,
      wentOn: healed.state?.routed,
    })
  }
  return found
}
