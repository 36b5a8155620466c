/**
 * Plays the release story on five hosts and a load balancer, which are network namespaces of this machine: `npm run test:hosts`, as root, with
 * HAProxy. Prints one table and writes bench/hosts/hosts.md with `--out`. It exits with 1 when a release ends otherwise than it must, an answer
 * is wrong, or an order takes longer than a second.
 */
import { writeFileSync } from 'node:fs'
import { readOptions } from '../harness/options.ts'
import { runInside, whyNoHosts } from './inside.ts'
import { openHosts } from './network.ts'
import { hostsPage, issuesOfOrders, issuesOfStory } from './report.ts'
import { openSite } from './site.ts'
import { playStory, sceneNames, type StoryScene } from './story.ts'

const options = readOptions({
  seed: 1,
  stage: 5,
  cut: 1,
  away: 120,
  orders: 60,
  ordersCut: 5,
  scenes: sceneNames.join(','),
  out: '',
  json: false,
  inside: false,
  root: '',
})

if (options.inside) await play()
else {
  const why = whyNoHosts()
  if (why === undefined)
    process.exitCode = (await runInside(process.argv.slice(2), (line) => console.log(line))) ?? 1
  else {
    console.error(`No hosts: ${why}.`)
    process.exitCode = 1
  }
}

async function play(): Promise<void> {
  const startedMs = performance.now()
  const network = await openHosts(options.root)
  try {
    const site = await openSite(network)
    const say = (line: string) =>
      options.json
        ? undefined
        : console.log(`${((performance.now() - startedMs) / 1_000).toFixed(0)} s  ${line}`)
    say('five hosts and a load balancer serve')
    try {
      const report = await playStory(site, {
        seed: options.seed,
        scenes: options.scenes.split(',') as StoryScene[],
        stageMs: options.stage * 1_000,
        cutMs: options.cut * 1_000,
        awayMs: options.away * 1_000,
        orders: options.orders,
        ordersCut: options.ordersCut,
        say,
      })
      const page = hostsPage(report, { ...options, minutes: (performance.now() - startedMs) / 60_000 })
      console.log(options.json ? JSON.stringify(report) : page)
      if (options.out !== '') writeFileSync(options.out, page)
      const issues = [...issuesOfStory(report), ...issuesOfOrders(report)]
      for (const issue of issues) console.error(`broken: ${issue}`)
      if (issues.length > 0) process.exitCode = 1
    } finally {
      await site.stop()
    }
  } catch (error) {
    console.error(network.lines.slice(-80).join('\n'))
    throw error
  } finally {
    await network.stop()
  }
}
