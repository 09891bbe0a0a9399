-- What agents said they can do. Whether one is alive is the registry's knowledge.
create table agents (
    name         text        primary key,
    tenant_id    text        not null default 'default',
    version      text        not null,
    description  text        not null,
    -- [{"task_type": …, "description": …}]
    capabilities jsonb       not null,
    slots        integer     not null check (slots > 0),
    announced_at timestamptz not null default now()
);

-- The service's login may use the table and nothing else; development databases may lack the role.
do $$
begin
    if exists (select from pg_roles where rolname = 'agent_orchestrator') then
        grant usage on schema agents to agent_orchestrator;
        grant select, insert, update, delete on all tables in schema agents to agent_orchestrator;
    end if;
end
$$;
