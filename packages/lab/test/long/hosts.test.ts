/**
 * Runs the release story on five hosts and a load balancer as network namespaces, briefly (`npm run bench -- hosts` runs it in full): links are
 * cut and hosts are lost.
 */
import { describe, expect, it } from 'vitest'
import { runInside, whyNoHosts } from '../../hosts/inside.ts'
import { issuesOfStory } from '../../hosts/report.ts'
import type { HostsStoryReport } from '../../hosts/story.ts'

const missing = whyNoHosts()

describe.skipIf(missing !== undefined)(
  missing === undefined ? 'five hosts' : `five hosts (skipped: ${missing})`,
  () => {
    it('releases end correctly although links are cut and hosts are lost, and no response comes from a rolled-back version', async () => {
      const lines: string[] = []
      const short =
        '--json --temporal development --scenes bad,lost --stage 1 --cut 0.2 --orders 5 --ordersCut 1 --pause 60'.split(
          ' ',
        )
      await runInside(short, (line) => lines.push(line))
      const told = lines.findLast((line) => line.startsWith('{"releases"'))
      if (told === undefined) throw new Error(lines.slice(-60).join('\n'))
      const report = JSON.parse(told) as HostsStoryReport
      expect(issuesOfStory(report)).toEqual([])
      expect(report.releases.map(({ outcome }) => outcome)).toEqual(['rolled_back', 'promoted'])
      expect(report.cuts).toBe(7)
    })
  },
)
