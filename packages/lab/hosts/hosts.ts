/**
 * Runs the release story on five hosts and a load balancer, which are network namespaces of this machine: `npm run bench -- hosts`, as root,
 * with HAProxy. Prints one table and writes packages/lab/hosts/hosts.md with `--out`. Exits with 1 when a release ends unexpectedly, a response is
 * wrong, or an order takes longer than a second.
 */
import { writeFileSync } from 'node:fs'
import { buildCluster } from '@tenure/embedded/install/temporal-cluster'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'
import { readOptions } from '../harness/options.ts'
import { prepareFormer } from '../upgrade/former.ts'
import { temporalKinds, type TemporalKind } from './data-host.ts'
import { runInside, whyNoHosts } from './inside.ts'
import { openHosts } from './network.ts'
import { hostsPage, issuesOfOrders, issuesOfStory } from './report.ts'
import { openSite } from './site.ts'
import { playStory, sceneNames, type StoryScene } from './story.ts'

/** In seconds unless the name says otherwise. */
const options = readOptions({
  seed: 1,
  stage: 5,
  cut: 1,
  away: 600,
  /** Seconds of a canary stage in which all hosts are upgraded. */
  upgrade: 90,
  /** The commit that all hosts start with. Default: the first one whose databases this build can migrate. */
  from: '',
  temporal: 'cluster',
  orders: 60,
  ordersCut: 5,
  pause: 20,
  scenes: sceneNames.join(','),
  out: '',
  json: false,
  inside: false,
  root: '',
})

const scenes = options.scenes.split(',') as StoryScene[]
const temporal = temporalKinds.find((kind) => kind === options.temporal)
if (temporal === undefined) throw new Error(`--temporal is one of ${temporalKinds.join(', ')}`)

if (options.inside) await play(temporal)
else {
  const why = whyNoHosts()
  if (why === undefined) {
    // Inside the namespace, only the hosts are reachable.
    await prepare()
    process.exitCode = (await runInside(process.argv.slice(2), (line) => console.log(line))) ?? 1
  } else {
    console.error(`No hosts: ${why}.`)
    process.exitCode = 1
  }
}

/** Prepares what is built or downloaded once per machine. Returns the build with which the hosts start, if it is another one. */
async function prepare() {
  if (temporal === 'cluster')
    await buildCluster({ cache: cacheDir(), env: environmentWith({}), arch: process.arch }, () => {})
  return scenes.includes('upgrade') ? prepareFormer(options.from) : undefined
}

async function play(kind: TemporalKind): Promise<void> {
  const startedMs = performance.now()
  const former = await prepare()
  const network = await openHosts(options.root)
  try {
    const site = await openSite(network, { temporal: kind, ...(former !== undefined && { former }) })
    const say = (line: string) =>
      options.json
        ? undefined
        : console.log(`${((performance.now() - startedMs) / 1_000).toFixed(0)} s  ${line}`)
    say('five hosts and a load balancer serve')
    try {
      const report = await playStory(site, {
        seed: options.seed,
        scenes,
        stageMs: options.stage * 1_000,
        cutMs: options.cut * 1_000,
        awayMs: options.away * 1_000,
        upgradeMs: options.upgrade * 1_000,
        orders: options.orders,
        ordersCut: options.ordersCut,
        pauseMs: options.pause,
        say,
      })
      const page = hostsPage(report, {
        ...options,
        minutes: (performance.now() - startedMs) / 60_000,
        ...(former !== undefined && { former }),
      })
      console.log(options.json ? JSON.stringify(report) : page)
      if (options.out !== '') writeFileSync(options.out, page)
      const issues = [...issuesOfStory(report), ...issuesOfOrders(report)]
      for (const issue of issues) console.error(`broken: ${issue}`)
      if (issues.length > 0) process.exitCode = 1
    } finally {
      await site.stop()
    }
  } catch (error) {
    console.error(
      network.lines
        .slice(-400)
        .map((line) => line.slice(0, 400))
        .join('\n'),
    )
    throw error
  } finally {
    await network.stop()
  }
}
