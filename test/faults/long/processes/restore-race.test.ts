/** Tests a rollback during the restore of a backup that holds the candidate as champion. `npm run bench -- races` runs a hundred. */
import { expect, it } from 'vitest'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { raceRestore } from '../../../support/races/restores.ts'
import { openReleaseFixture } from '../../../support/release/release-fixture.ts'
import { ownServers } from '../../../support/servers/servers.ts'

it('an accepted rollback returns every release to its baseline although a backup is restored meanwhile', async () => {
  const servers = await ownServers()
  const fixture = await openReleaseFixture(servers)
  try {
    const first = await raceRestore(fixture, 4, 1_000)
    expect(first.issues).toEqual([])
    expect((await raceRestore(fixture, 4, first.lockMs)).issues).toEqual([])
    expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
  } finally {
    await fixture.close()
  }
})
