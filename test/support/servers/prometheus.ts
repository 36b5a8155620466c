/** Runs a real server of Prometheus that reads the counters of other servers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@tenure/embedded'
import { answers, startProgram } from './python-servers.ts'

/** `targets`: host and port of each server. They are read once a second. */
export async function startPrometheus(program: string, targets: readonly string[]) {
  const home = mkdtempSync(join(tmpdir(), 'tenure-prometheus-'))
  const file = join(home, 'prometheus.yml')
  // JSON is YAML too.
  const scraped = [{ job_name: 'tests', static_configs: [{ targets }] }]
  writeFileSync(file, JSON.stringify({ global: { scrape_interval: '1s' }, scrape_configs: scraped }))
  const at = `127.0.0.1:${await freePort()}`
  const { stop } = startProgram(program, [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(home, 'data')}`,
    `--web.listen-address=${at}`,
  ])
  await answers(`http://${at}/-/ready`)
  return {
    address: `http://${at}`,
    async stop() {
      await stop()
      rmSync(home, { recursive: true })
    },
  }
}
