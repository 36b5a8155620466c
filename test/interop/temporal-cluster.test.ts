/**
 * Tests a release on Temporal's own cluster, as docs/how-to/machines/temporal-cluster.md sets it up, while processes of each service are
 * killed.
 */
import { Connection } from '@temporalio/client'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { openShow, type Show } from '../support/fleet/fleet-fixture.ts'
import { startCallers } from '../support/servers/system-fixture.ts'
import { openTcpBalancer, type TcpBalancer } from '../support/temporal-cluster/tcp-balancer.ts'
import { whyNoCluster } from '../support/temporal-cluster/cluster-page.ts'
import {
  startDocumentedCluster,
  type TemporalCluster,
} from '../support/temporal-cluster/documented-cluster.ts'
import { waitUntil } from '../support/serving/api-process.ts'

const missing = whyNoCluster()
const services = ['frontend', 'history', 'matching', 'worker']

describe.skipIf(missing !== undefined)(
  missing === undefined ? "Temporal's own cluster" : `Temporal's own cluster (skipped: ${missing})`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'tenure-cluster-'))
    chmodSync(directory, 0o711)
    let postgres: RunningPostgres
    let cluster: TemporalCluster | undefined
    let balancer: TcpBalancer | undefined
    let show: Show | undefined
    beforeAll(async () => {
      postgres = await startPostgres({ dataDir: join(directory, 'postgres'), durable: false })
      const { host, username } = new URL(postgres.url)
      cluster = await startDocumentedCluster(join(directory, 'cluster'), `postgres://${username}@${host}`)
      balancer = await openTcpBalancer(cluster.frontendPorts)
      show = await openShow({
        replicas: 1,
        workers: 2,
        leaseMs: 5_000,
        temporalAddress: balancer.address,
        environment: cluster.environment,
      })
    })
    afterAll(async () => {
      await show?.system.stop()
      await balancer?.close()
      await cluster?.stop()
      await postgres?.stop()
      rmSync(directory, { recursive: true, force: true })
    })

    it('runs a release to its end although a process of each service is killed, with no failed prediction', async () => {
      const { system, model, approved, champion } = show!
      const callers = startCallers(system.urls, model)
      const { release, version } = await approved()
      await release.reaches('canary')
      for (const service of services) {
        const name = `${service}-1`
        const pid = cluster!.pidOf(name)!
        process.kill(pid, 'SIGKILL')
        await waitUntil(() => ![undefined, pid].includes(cluster!.pidOf(name)), `${name} again`)
      }
      expect(await release.result()).toMatchObject({ outcome: 'promoted' })
      expect(await champion()).toBe(version)
      const next = await approved()
      expect(await next.release.result()).toMatchObject({ outcome: 'promoted' })
      await callers.stop()
      expect(callers.failures).toEqual([])
      expect([...callers.answered.keys()]).toContain(next.version)
    })

    it('admits no client without a certificate', async () => {
      const { address } = balancer!
      const { TEMPORAL_TLS_SERVER_CA_CERT_PATH: ca = '' } = cluster!.environment
      const withoutCertificate = {
        serverNameOverride: 'temporal.example.com',
        serverRootCACertificate: readFileSync(ca),
      }
      for (const tls of [false, withoutCertificate])
        await expect(Connection.connect({ address, tls, connectTimeout: 2_000 })).rejects.toThrow()
    })
  },
)
