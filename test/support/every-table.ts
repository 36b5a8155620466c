/** Fills every table of the database's catalogue with a row of each model, so that a new table is tried by itself. */
import pg from 'pg'
import sql, { raw } from 'sql-template-tag'
import { scopedRole, type Store } from '../../store/postgres.ts'

interface Column {
  name: string
  type: string
  isNeeded: boolean
  parent: { table: string; column: string } | null
}

export interface Table {
  name: string
  columns: Column[]
  policy: string | null
  comment: string | null
  privileges: string[]
}

export const listTables = (store: Store) =>
  store.query<Table & Record<string, unknown>>(sql`
    select relname as name, obj_description(pg_class.oid) as comment,
      (select pg_get_expr(polqual, polrelid) from pg_policy where polrelid = pg_class.oid and polname = 'rows_of_models' and relrowsecurity)
        as policy,
      array(select privilege from unnest(array['select', 'insert', 'update', 'delete']) as privilege
        where has_table_privilege(${scopedRole}, pg_class.oid, privilege)) as privileges,
      (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, null),
          'isNeeded', attnotnull and (not atthasdef or attnum = any (coalesce((select conkey from pg_constraint
            where conrelid = attrelid and contype = 'p'), '{}'))),
          'parent', (select json_build_object('table', confrelid::regclass::text, 'column', (select attname from pg_attribute as theirs
              where theirs.attrelid = confrelid and theirs.attnum = confkey[1]))
            from pg_constraint where conrelid = attrelid and contype = 'f' and conkey = array[attnum] limit 1)))
        from pg_attribute where attrelid = pg_class.oid and attnum > 0 and not attisdropped and attgenerated = '') as columns
    from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`)

/** Drops what rows must satisfy, so that any values do. `constraints`: their types in the catalogue; `ruled`: a table whose triggers stay. */
export const dropRules = (
  store: Store,
  { constraints, ruled = '' }: { constraints: readonly ('c' | 'f')[]; ruled?: string },
) =>
  store.query(sql`
    do $$
    declare each record;
    begin
      for each in select conrelid::regclass as name, conname from pg_constraint
        where contype in (${raw(constraints.map((type) => `'${type}'`).join())}) and conparentid = 0
          and connamespace = 'public'::regnamespace order by contype desc
      loop execute format('alter table %s drop constraint %I cascade', each.name, each.conname); end loop;
      for each in select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname <> '${raw(ruled)}'
      loop execute format('alter table %I disable trigger user', each.relname); end loop;
    end $$`)

/** Returns a function that inserts a row of a model into a table, and before it the rows that it refers to. The first model has the number 1. */
export function tableFiller(store: Store, tables: readonly Table[], models: readonly string[]) {
  /** Table → model → its row. */
  const rows: Record<string, Record<string, Record<string, unknown>>> = {}
  async function fill(name: string, model: string): Promise<Record<string, unknown>> {
    const known = rows[name]?.[model]
    if (known !== undefined) return known
    const { columns } = tables.find((each) => each.name === name)!
    const row: Record<string, unknown> = {}
    for (const column of columns) {
      const { parent } = column
      if (parent !== null && parent.table !== name && tables.some((each) => each.name === parent.table))
        row[column.name] = (await fill(parent.table, model))[parent.column]
      else if (column.isNeeded || column.name === 'model')
        row[column.name] = valueOf(name, column, model, models.indexOf(model) + 1)
    }
    Object.assign(row, special(model, model === models[0])[name])
    if (name === 'predictions')
      // The request of the prediction that an outcome names.
      Object.assign(row, (await store.query(sql`select request_of(${row['id']}::uuid) as id`))[0])
    const named = raw(Object.keys(row).map(pg.escapeIdentifier).join(', '))
    const [made] = await store.query(sql`
      insert into ${raw(pg.escapeIdentifier(name))} (${named}) overriding system value
      select ${named} from jsonb_populate_record(null::${raw(pg.escapeIdentifier(name))}, ${JSON.stringify(row)}::jsonb) returning *`)
    const stored = Object.fromEntries(columns.map((column) => [column.name, made![column.name]]))
    return ((rows[name] ??= {})[model] = stored)
  }
  return { fill, rows }
}

function valueOf(table: string, { name, type }: Column, model: string, number: number): unknown {
  if (name === 'model') return model
  if (type.endsWith('[]')) return []
  if (type === 'text') return `${table}-${name}-${model}`
  if (type === 'uuid') return `0000000${number}-0000-4000-8000-000000000000`
  if (type === 'jsonb') return {}
  if (type === 'boolean') return false
  if (type === 'bytea') return String.raw`\x00`
  if (type.startsWith('timestamp') || type === 'date') return '2026-01-01T00:00:00Z'
  return number
}

/** What a row has in common with its model where no foreign key and no column of the name `model` says so. */
const special = (model: string, isFirst: boolean): Record<string, Record<string, unknown>> => ({
  models: { name: model, definition: { views: [{ digest: `digest-${model}` }] } },
  feature_views: { digest: `digest-${model}` },
  applied_state: { kind: 'schedule', name: `retrain/${model}` },
  idempotent_requests: { key_id: `key-${model}` },
  // Every key reads what no sync has noted for the audit.
  service_state: { name: isFirst ? 'faults' : `model_change/${model}` },
})
