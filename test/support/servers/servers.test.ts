import { Client } from '@temporalio/client'
import pg from 'pg'
import { expect, it } from 'vitest'
import { searchAttributes } from '../../../temporal.config.ts'
import { connectTemporal, freshDatabase, freshNamespace, migratedDatabase, uniqueName } from './servers.ts'

async function ask(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query(statement)
  await client.end()
  return rows as unknown[]
}

const tables = `select count(*)::int as count from information_schema.tables where table_schema = 'public'`

it('databases are isolated from each other', async () => {
  const [one, other] = await Promise.all([freshDatabase(), freshDatabase()])
  await ask(one, 'create table mine (a int)')
  expect(await ask(one, tables)).toEqual([{ count: 1 }])
  expect(await ask(other, tables)).toEqual([{ count: 0 }])
})

it('migrated databases contain all tables', async () => {
  const [one, other] = await Promise.all([migratedDatabase(), migratedDatabase()])
  const [counted] = (await ask(one, tables)) as { count: number }[]
  expect(counted?.count).toBeGreaterThan(3)
  expect(await ask(other, tables)).toEqual([counted])
})

it('a new namespace runs workflows and accepts the search attributes', async () => {
  const namespace = await freshNamespace()
  const connection = await connectTemporal()
  const client = new Client({ connection, namespace })
  const workflowId = uniqueName('workflow')
  await expect
    .poll(() =>
      client.workflow
        .start('anything', {
          workflowId,
          taskQueue: uniqueName('queue'),
          searchAttributes: Object.fromEntries(searchAttributes.map((name) => [name, ['value']])),
        })
        .then((handle) => handle.workflowId),
    )
    .toBe(workflowId)
  const { searchAttributes: carried } = await client.workflow.getHandle(workflowId).describe()
  expect(Object.keys(carried).sort()).toEqual(expect.arrayContaining([...searchAttributes].sort()))
  await connection.close()
})
